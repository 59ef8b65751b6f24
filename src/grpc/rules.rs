//! The methods of `RuleService`: each decodes its request, calls a use case, and encodes the
//! response.

use prost::Message;
use tonic::Request;

use super::{
    context::{
        Context, Reply, WriteResponse, Written, reply_or, reply_written_or, required, retry,
    },
    decode, encode,
    error::status_of_rules,
    path,
    pb::{self, rule_service_server::RuleService},
    products,
    service::summary,
    verdicts,
};
use crate::{
    domain::{
        CollectionId, Constraint, EntryKind, FieldPath, ProductId, Result, Rules, Violation,
        Violations, collection::NO_RULES, page,
    },
    service::{
        ChangeKind, ChangeRuleEntries, Detail, EntriesChanged, Include, ListMatchingCollections,
        ListRuleEntries, MAX_SAMPLE, Preview, PreviewRules, Sample,
    },
};

#[derive(Debug)]
pub(super) struct RuleMethods {
    context: Context,
}

impl RuleMethods {
    pub(super) fn new(context: Context) -> Self {
        Self { context }
    }

    fn limits(&self) -> &crate::domain::Limits {
        &self.context.service.settings().limits
    }

    async fn preview(
        &self,
        request: Request<pb::PreviewRulesRequest>,
    ) -> Result<pb::PreviewRulesResponse> {
        let (caller, message) = self.context.open(request, |m| &m.tenant_id)?;
        let mut violations = Violations::default();
        let rules = message.rules.unwrap_or_default();
        let rules = decode::rules(&rules, self.limits(), &mut violations);
        let collection = match message.collection_id.as_str() {
            "" => None,
            id => violations.take(CollectionId::parse("collection_id", id)),
        };
        let sample = violations.take(sample_size(message.sample_size));
        violations.finish()?;
        let command = PreviewRules {
            rules: required("rules", rules)?,
            collection,
            sample: sample.unwrap_or(MAX_SAMPLE),
        };
        let preview = self.context.service.preview_rules(&caller, command).await?;
        Ok(self::preview(preview))
    }

    async fn explain(
        &self,
        request: Request<pb::ExplainMembershipRequest>,
    ) -> Result<pb::ExplainMembershipResponse> {
        let (caller, message) = self.context.open(request, |m| &m.tenant_id)?;
        let mut violations = Violations::default();
        let collection = CollectionId::parse("collection_id", &message.collection_id);
        let collection = violations.take(collection);
        let product = violations.take(ProductId::parse("product_id", &message.product_id));
        violations.finish()?;
        let collection = required("collection_id", collection)?;
        let product = required("product_id", product)?;
        let service = &self.context.service;
        let membership = service.explain_membership(&caller, &collection, product);
        Ok(verdicts::membership(membership.await?))
    }

    async fn matching(
        &self,
        request: Request<pb::ListMatchingCollectionsRequest>,
    ) -> Result<pb::ListMatchingCollectionsResponse> {
        let (caller, message) = self.context.open(request, |m| &m.tenant_id)?;
        let mut violations = Violations::default();
        let product = message.product.unwrap_or_default();
        let product = products::draft(product, &mut violations);
        let size = page::size("page_size", message.page_size, self.limits().page_size);
        let size = violations.take(size);
        violations.finish()?;
        let command = ListMatchingCollections {
            product: required("product", product)?,
            token: (!message.page_token.is_empty()).then_some(message.page_token),
            size: size.unwrap_or(page::DEFAULT_SIZE),
        };
        let service = &self.context.service;
        let page = service.list_matching_collections(&caller, command).await?;
        let collections = page.collections.into_iter();
        Ok(pb::ListMatchingCollectionsResponse {
            collection_ids: collections.map(String::from).collect(),
            next_page_token: page.next.unwrap_or_default(),
        })
    }

    async fn entries(
        &self,
        request: Request<pb::ListRuleEntriesRequest>,
    ) -> Result<pb::ListRuleEntriesResponse> {
        let (caller, message) = self.context.open(request, |m| &m.tenant_id)?;
        let mut violations = Violations::default();
        let collection = CollectionId::parse("collection_id", &message.collection_id);
        let collection = violations.take(collection);
        let kind = entry_kind(message.kind, &mut violations);
        let size = page::size("page_size", message.page_size, self.limits().page_size);
        let size = violations.take(size);
        violations.finish()?;
        let command = ListRuleEntries {
            collection: required("collection_id", collection)?,
            kind: required("kind", kind)?,
            token: (!message.page_token.is_empty()).then_some(message.page_token),
            size: size.unwrap_or(page::DEFAULT_SIZE),
        };
        let service = &self.context.service;
        let page = service.list_rule_entries(&caller, command).await?;
        let entries = page.entries.into_iter().map(|entry| pb::RuleEntry {
            product_id: entry.product.into(),
            index: entry.index.map(encode::count),
        });
        Ok(pb::ListRuleEntriesResponse {
            entries: entries.collect(),
            next_page_token: page.next.unwrap_or_default(),
        })
    }

    async fn change_entries(
        &self,
        request: Request<pb::ChangeRuleEntriesRequest>,
    ) -> Result<WriteResponse<pb::ChangeRuleEntriesResponse>> {
        let (caller, message) = self.context.open(request, |m| &m.tenant_id)?;
        let retry = retry(
            "ChangeRuleEntries",
            &message.request_id,
            &message,
            entries_changed,
        )?;
        let mut violations = Violations::default();
        let collection = CollectionId::parse("collection_id", &message.collection_id);
        let collection = violations.take(collection);
        let kind = entry_kind(message.kind, &mut violations);
        let etag = violations.take(decode::etag("etag", &message.etag));
        if message.replace && !message.remove.is_empty() {
            let why = "replace is set";
            violations.add("remove", "", Constraint::Forbidden(why));
        }
        violations.finish()?;
        let kind = required("kind", kind)?;
        // Checked first and on its own, so that a request with too many entries is not decoded.
        let (mut violations, max) = (Violations::default(), self.limits().entries(kind));
        violations.count(FieldPath::Entries(kind), message.add.len(), max);
        violations.count("remove", message.remove.len(), max);
        violations.finish()?;
        let mut violations = Violations::default();
        let add = message.add.into_iter().enumerate();
        let add = add.filter_map(|(at, entry)| self::entry(at, entry, &mut violations));
        let add = add.collect();
        let remove = decode::product_ids("remove", &message.remove, &mut violations);
        violations.finish()?;
        let command = ChangeRuleEntries {
            collection: required("collection_id", collection)?,
            kind,
            add,
            remove: remove.unwrap_or_default(),
            replace: message.replace,
            etag: etag.flatten(),
            include: Include::default(),
            retry,
        };
        self.context
            .execute(&caller, command, |changed| entries_changed(&changed))
            .await
    }

    async fn change_kind(
        &self,
        request: Request<pb::ChangeCollectionKindRequest>,
    ) -> Result<WriteResponse<pb::ChangeCollectionKindResponse>> {
        let (caller, message) = self.context.open(request, |m| &m.tenant_id)?;
        let retry = retry(
            "ChangeCollectionKind",
            &message.request_id,
            &message,
            kind_changed,
        )?;
        let mut violations = Violations::default();
        let id = CollectionId::parse("collection_id", &message.collection_id);
        let id = violations.take(id);
        let etag = violations.take(decode::etag("etag", &message.etag));
        let to_smart = self.new_kind(&message, &mut violations);
        violations.finish()?;
        let command = ChangeKind {
            collection: required("collection_id", id)?,
            // To become manual means to keep the products that the rules selected.
            keep_members: message.keep_members || to_smart.is_none(),
            to_smart,
            etag: etag.flatten(),
            include: Include::awaiting_rules(message.wait_for_rules),
            retry,
        };
        self.context
            .execute(&caller, command, |detail| kind_changed(&detail))
            .await
    }
}

impl RuleMethods {
    /// The rules of a collection that becomes smart; `None` if it becomes manual.
    fn new_kind(
        &self,
        message: &pb::ChangeCollectionKindRequest,
        to: &mut Violations,
    ) -> Option<Rules> {
        let rules = || FieldPath::Rules(Vec::new());
        match (decode::is_smart(message.kind, "kind", to), &message.rules) {
            (Some(true), Some(given)) => return decode::rules(given, self.limits(), to),
            (Some(true), None) => to.add(rules(), "", Constraint::Required),
            (Some(false), Some(_)) => to.add(rules(), "", Constraint::Forbidden(NO_RULES)),
            (Some(false), None) => {}
            // An unknown kind was already reported by `is_smart`.
            (None, _) if message.kind != 0 => {}
            (None, _) => to.add("kind", "", Constraint::Required),
        }
        None
    }
}

#[tonic::async_trait]
impl RuleService for RuleMethods {
    async fn preview_rules(
        &self,
        request: Request<pb::PreviewRulesRequest>,
    ) -> Reply<pb::PreviewRulesResponse> {
        reply(self.preview(request).await)
    }

    async fn explain_membership(
        &self,
        request: Request<pb::ExplainMembershipRequest>,
    ) -> Reply<pb::ExplainMembershipResponse> {
        reply(self.explain(request).await)
    }

    async fn list_matching_collections(
        &self,
        request: Request<pb::ListMatchingCollectionsRequest>,
    ) -> Reply<pb::ListMatchingCollectionsResponse> {
        reply(self.matching(request).await)
    }

    async fn list_rule_entries(
        &self,
        request: Request<pb::ListRuleEntriesRequest>,
    ) -> Reply<pb::ListRuleEntriesResponse> {
        reply(self.entries(request).await)
    }

    async fn change_rule_entries(
        &self,
        request: Request<pb::ChangeRuleEntriesRequest>,
    ) -> Reply<pb::ChangeRuleEntriesResponse> {
        reply_written(self.change_entries(request).await)
    }

    async fn change_collection_kind(
        &self,
        request: Request<pb::ChangeCollectionKindRequest>,
    ) -> Reply<pb::ChangeCollectionKindResponse> {
        reply_written(self.change_kind(request).await)
    }
}

fn reply<T: Message>(result: Result<T>) -> Reply<T> {
    reply_or(result, status_of_rules)
}

fn reply_written<M: Message>(result: Result<WriteResponse<M>>) -> Reply<M> {
    reply_written_or(result, status_of_rules)
}

/// How many products each sample of a preview lists.
fn sample_size(value: i32) -> Result<usize, Violation> {
    match value {
        0 => Ok(MAX_SAMPLE),
        size => page::size("sample_size", size, MAX_SAMPLE),
    }
}

/// The kind of entries; `None` if it has a violation.
fn entry_kind(value: i32, to: &mut Violations) -> Option<EntryKind> {
    match pb::RuleEntryKind::try_from(value) {
        Ok(pb::RuleEntryKind::Include) => Some(EntryKind::Include),
        Ok(pb::RuleEntryKind::Exclude) => Some(EntryKind::Exclude),
        Ok(pb::RuleEntryKind::Pin) => Some(EntryKind::Pin),
        Ok(pb::RuleEntryKind::Unspecified) => {
            to.add("kind", "", Constraint::Required);
            None
        }
        Err(_) => {
            let known = "RULE_ENTRY_KIND_INCLUDE, RULE_ENTRY_KIND_EXCLUDE, RULE_ENTRY_KIND_PIN";
            to.add("kind", &value.to_string(), Constraint::Unknown(known));
            None
        }
    }
}

/// The entry to add at index `at` of the request. The use case checks whether it needs an index.
fn entry(at: usize, entry: pb::RuleEntry, to: &mut Violations) -> Option<(ProductId, Option<u64>)> {
    let product = ProductId::parse(format!("add[{at}].product_id"), &entry.product_id);
    let product = to.take(product);
    let index = entry
        .index
        .map(|index| decode::index(&format!("add[{at}].index"), index));
    let index = index.and_then(|index| to.take(index));
    Some((product?, index))
}

fn preview(preview: Preview) -> pb::PreviewRulesResponse {
    let products = |sample: Sample| {
        let first = sample.first.into_iter();
        first
            .map(|(id, title)| pb::PreviewedProduct {
                product_id: id.into(),
                title,
            })
            .collect()
    };
    let warnings = preview.warnings.into_iter().map(|warning| pb::RuleWarning {
        path: path::of_rule_request(&warning.group),
        field: warning.field,
        problem: warning.problem.into(),
    });
    pb::PreviewRulesResponse {
        product_count: encode::count(preview.evaluated),
        match_count: encode::count(preview.matches.count),
        matches: products(preview.matches),
        join_count: encode::count(preview.joining.count),
        joining: products(preview.joining),
        leave_count: encode::count(preview.leaving.count),
        leaving: products(preview.leaving),
        warnings: warnings.collect(),
    }
}

impl Written for pb::ChangeRuleEntriesResponse {
    fn summary(self) -> Self {
        Self {
            collection: summary(self.collection),
        }
    }

    fn collection(&mut self) -> Option<&mut pb::Collection> {
        self.collection.as_mut()
    }
}

impl Written for pb::ChangeCollectionKindResponse {
    fn summary(self) -> Self {
        Self {
            collection: summary(self.collection),
        }
    }

    fn collection(&mut self) -> Option<&mut pb::Collection> {
        self.collection.as_mut()
    }
}

fn entries_changed(changed: &EntriesChanged) -> pb::ChangeRuleEntriesResponse {
    pb::ChangeRuleEntriesResponse {
        collection: Some(encode::collection(&changed.detail)),
    }
}

fn kind_changed(detail: &Detail) -> pb::ChangeCollectionKindResponse {
    pb::ChangeCollectionKindResponse {
        collection: Some(encode::collection(detail)),
    }
}
