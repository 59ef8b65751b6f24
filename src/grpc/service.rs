//! The methods of `CollectionService`: each decodes its request, calls a use case, and encodes the
//! response.

use prost::Message as _;
use tonic::Request;

use super::{
    context::{
        Context, Reply, SUMMARY_IDS, WriteResponse, Written, decoded, reply, reply_written,
        required, retry,
    },
    decode, encode,
    mask::{self, ReadMask},
    pb::{self, collection_service_server::CollectionService},
    product_fields::ProductFields,
};
use crate::{
    domain::{
        ChildType, CollectionId, Constraint, Draft, FieldPath, Result, Slug, Violation, Violations,
        page::{self, PageBytes},
    },
    service::{
        Ancestors, ChildMutation, ChildPage, ChildProducts, ChildStart, CreateCollection,
        DeleteCollection, Detail, EncodedResponse, Include, Key, ListChildren, ListCollections,
        ListParents, MAX_PAGE_TOKEN, PageStart, Parents, ProductDetail, UpdateCollection, Updated,
    },
};

#[derive(Debug)]
pub(super) struct Collections {
    context: Context,
}

impl Collections {
    pub(super) fn new(context: Context) -> Self {
        Self { context }
    }

    fn limits(&self) -> &crate::domain::Limits {
        &self.context.service.settings().limits
    }

    fn page_size(&self, value: i32) -> Result<usize, Violation> {
        page::size("page_size", value, self.limits().page_size)
    }

    /// The limit on the bytes of a page of collections, with the fields of the mask.
    fn bytes(&self, mask: &ReadMask) -> PageBytes<Detail> {
        let mask = mask.clone();
        self.context.page_bytes(move |detail| shown(detail, &mask))
    }

    /// The setting `default_currency`, an ISO 4217 code, if it is set.
    fn default_currency(&self) -> Option<&str> {
        self.context.service.settings().default_currency.as_deref()
    }

    /// What has to be read of the products on a page of children.
    fn child_products(&self, fields: &ProductFields) -> ChildProducts {
        let shown = fields.clone();
        let mut bytes = self
            .context
            .page_bytes(move |detail: &ProductDetail| pb::Child {
                id: detail.id.to_string(),
                index: i32::MAX,
                product: shown.encode(detail),
                reason: pb::ChildReason::Pin.into(),
            });
        // The two page tokens of such a page hold the ids of many children, so they are large.
        bytes.max = bytes.max.saturating_sub(2 * MAX_PAGE_TOKEN);
        ChildProducts {
            whole: fields.need_whole(),
            bytes,
        }
    }

    async fn create(
        &self,
        request: Request<pb::CreateCollectionRequest>,
    ) -> Result<WriteResponse<pb::CreateCollectionResponse>> {
        let (caller, message) = self.context.open(request, |m| &m.tenant_id)?;
        let retry = retry("CreateCollection", &message.request_id, &message, created)?;
        let mut violations = Violations::default();
        let mut collection = required("collection", message.collection)?;
        decode::fill_currency(&mut collection, self.default_currency());
        let id = match collection.id.as_str() {
            "" => None,
            id => violations.take(CollectionId::parse(FieldPath::Id, id)),
        };
        let kind = decode::kind(&collection, self.limits(), &mut violations);
        let (changes, parents) = mask::create(&collection, self.limits(), &mut violations);
        let parents = parents.unwrap_or_default();
        if message.orphaned && !parents.is_empty() {
            let why = "parent_ids are given";
            violations.add("orphaned", "true", Constraint::Forbidden(why));
        }
        violations.finish()?;
        let command = CreateCollection {
            draft: Draft { id, kind, changes },
            parents: match (message.orphaned, parents.is_empty()) {
                (true, _) => Parents::None,
                (false, true) => Parents::Root,
                (false, false) => Parents::Under(parents),
            },
            products: Vec::new(),
            include: Include::awaiting_rules(message.wait_for_rules),
            retry,
        };
        self.context
            .execute(&caller, command, |detail| created(&detail))
            .await
    }

    /// The response to `GetCollection`, encoded; it may come from the cache.
    pub(super) async fn get(
        &self,
        request: Request<pb::GetCollectionRequest>,
    ) -> Result<EncodedResponse> {
        let (caller, message) = self.context.open(request, |m| &m.tenant_id)?;
        let mask = ReadMask::parse(message.read_mask)?;
        let consistency = decode::consistency(message.consistency)?;
        let known = decode::read_etag("if_none_match", &message.if_none_match)?;
        let key = match required("collection_id", message.key)? {
            pb::get_collection_request::Key::CollectionId(id) => {
                Key::Id(CollectionId::parse("collection_id", &id)?)
            }
            pb::get_collection_request::Key::Slug(slug) => {
                Key::Slug(Slug::parse("slug", &slug, self.limits().name_chars)?)
            }
        };
        let encode = |detail: &Detail| {
            let response = pb::GetCollectionResponse {
                collection: Some(shown(detail, &mask)),
                not_modified: false,
                read_etag: detail.read_etag().to_string(),
            };
            response.encode_to_vec().into()
        };
        let (service, form) = (&self.context.service, mask.name());
        let encoded = service
            .get_encoded(&caller, key, consistency, &form, encode)
            .await?;
        if known.is_none() || known != encoded.read_etag {
            return Ok(encoded);
        }
        let not_modified = pb::GetCollectionResponse {
            collection: None,
            not_modified: true,
            read_etag: known.map(|known| known.to_string()).unwrap_or_default(),
        };
        Ok(EncodedResponse {
            body: not_modified.encode_to_vec().into(),
            is_cached: false,
            ..encoded
        })
    }

    async fn batch_get(
        &self,
        request: Request<pb::BatchGetCollectionsRequest>,
    ) -> Result<pb::BatchGetCollectionsResponse> {
        let (caller, message) = self.context.open(request, |m| &m.tenant_id)?;
        let mut violations = Violations::default();
        let mask = violations.take(ReadMask::parse(message.read_mask));
        let ids = decode::collection_ids("ids", &message.ids, self.limits().ids, &mut violations);
        violations.finish()?;
        let mask = mask.unwrap_or_default();
        let bytes = self.bytes(&mask);
        let batch = self
            .context
            .service
            .batch_get_collections(&caller, ids, &bytes)
            .await?;
        let collections = batch.found.iter();
        Ok(pb::BatchGetCollectionsResponse {
            collections: collections.map(|one| shown(one, &mask)).collect(),
            missing_ids: batch.missing.into_iter().map(String::from).collect(),
        })
    }

    async fn list(
        &self,
        request: Request<pb::ListCollectionsRequest>,
    ) -> Result<pb::ListCollectionsResponse> {
        let (caller, message) = self.context.open(request, |m| &m.tenant_id)?;
        let mut violations = Violations::default();
        let mask = violations.take(ReadMask::parse(message.read_mask));
        let filter = message.filter.unwrap_or_default();
        let filter = decode::filter(filter, self.limits(), &mut violations);
        let size = violations.take(self.page_size(message.page_size));
        violations.finish()?;
        let mask = mask.unwrap_or_default();
        let command = ListCollections {
            filter,
            all_there: false,
            order: Vec::new(),
            scan: None,
            ancestors: Ancestors::Shown,
            descendants: None,
            bytes: Some(self.bytes(&mask)),
            paths: None,
            omit_total: message.omit_total_size,
            start: match message.page_token.as_str() {
                "" => PageStart::First,
                token => PageStart::Token(token.into()),
            },
            size: size.unwrap_or(page::DEFAULT_SIZE),
        };
        let page = self
            .context
            .service
            .list_collections(&caller, command)
            .await?;
        let collections = page.collections.iter();
        Ok(pb::ListCollectionsResponse {
            collections: collections.map(|one| shown(one, &mask)).collect(),
            next_page_token: page.next.unwrap_or_default(),
            total_size: encode::count(page.total),
        })
    }

    async fn update(
        &self,
        request: Request<pb::UpdateCollectionRequest>,
    ) -> Result<WriteResponse<pb::UpdateCollectionResponse>> {
        let (caller, mut message) = self.context.open(request, |m| &m.tenant_id)?;
        let retry = retry(
            "UpdateCollection",
            &message.request_id,
            &message,
            self::updated,
        )?;
        if let Some(collection) = &mut message.collection {
            decode::fill_currency(collection, self.default_currency());
        }
        let mut violations = Violations::default();
        let none = pb::Collection::default();
        let collection = message.collection.as_ref().unwrap_or(&none);
        let id = violations.take(CollectionId::parse("collection.id", &collection.id));
        let etag = violations.take(decode::etag("collection.etag", &collection.etag));
        let (changes, parents) = mask::update(&message, collection, self.limits(), &mut violations);
        violations.finish()?;
        let command = UpdateCollection {
            changes,
            parents,
            etag: etag.flatten(),
            include: Include::awaiting_rules(message.wait_for_rules),
            retry,
            ..UpdateCollection::of(required("collection.id", id)?)
        };
        self.context
            .execute(&caller, command, |updated| self::updated(&updated))
            .await
    }

    async fn delete(
        &self,
        request: Request<pb::DeleteCollectionRequest>,
    ) -> Result<WriteResponse<pb::DeleteCollectionResponse>> {
        let (caller, message) = self.context.open(request, |m| &m.tenant_id)?;
        let retry = retry("DeleteCollection", &message.request_id, &message, |()| {
            pb::DeleteCollectionResponse {}
        })?;
        let mut violations = Violations::default();
        let id = CollectionId::parse("collection_id", &message.collection_id);
        let id = violations.take(id);
        let etag = violations.take(decode::etag("etag", &message.etag));
        violations.finish()?;
        let command = DeleteCollection {
            id: required("collection_id", id)?,
            force: message.force,
            etag: etag.flatten(),
            retry,
        };
        self.context
            .execute(&caller, command, |()| pb::DeleteCollectionResponse {})
            .await
    }

    async fn mutate(
        &self,
        request: Request<pb::MutateChildrenRequest>,
    ) -> Result<WriteResponse<pb::MutateChildrenResponse>> {
        let (caller, message) = self.context.open(request, |m| &m.tenant_id)?;
        let retry = retry(
            "MutateChildren",
            &message.request_id,
            &message,
            encode::mutated,
        )?;
        let mut violations = Violations::default();
        let id = violations.take(CollectionId::parse("collection_id", &message.collection_id));
        let etag = violations.take(decode::etag("etag", &message.etag));
        let list = violations.take(decode::child_type(message.child_type));
        let kind = list.unwrap_or(ChildType::Product);
        let mutations = decode::mutations(message.mutations, kind, self.limits(), &mut violations);
        violations.finish()?;
        let list = required("child_type", list)?;
        let mutations = mutations.into_iter();
        let command = UpdateCollection {
            mutations: mutations
                .map(|mutation| ChildMutation { list, mutation })
                .collect(),
            etag: etag.flatten(),
            validate_only: message.validate_only,
            retry,
            ..UpdateCollection::of(required("collection_id", id)?)
        };
        self.context
            .execute(&caller, command, |updated| encode::mutated(&updated))
            .await
    }

    async fn child(&self, request: Request<pb::GetChildRequest>) -> Result<pb::GetChildResponse> {
        let (caller, message) = self.context.open(request, |m| &m.tenant_id)?;
        let mut violations = Violations::default();
        let collection = CollectionId::parse("collection_id", &message.collection_id);
        let collection = violations.take(collection);
        let list = violations.take(decode::child_type(message.child_type));
        let kind = list.unwrap_or(ChildType::Product);
        let child = violations.take(kind.parse_id("child_id", &message.child_id));
        violations.finish()?;
        let collection = required("collection_id", collection)?;
        let (list, child) = (required("child_type", list)?, required("child_id", child)?);
        let service = &self.context.service;
        let (index, reason, etag) = service
            .get_child(&caller, &collection, list, &child)
            .await?;
        let child = pb::Child {
            id: child.into(),
            index: encode::count(index),
            product: None,
            reason: encode::child_reason(reason),
        };
        Ok(pb::GetChildResponse {
            child: Some(child),
            etag: etag.to_string(),
        })
    }

    /// The response to `ListChildren`, encoded; it may come from the cache.
    pub(super) async fn list_children_page(
        &self,
        request: Request<pb::ListChildrenRequest>,
    ) -> Result<EncodedResponse> {
        let (caller, message) = self.context.open(request, |m| &m.tenant_id)?;
        let mut violations = Violations::default();
        let collection = CollectionId::parse("collection_id", &message.collection_id);
        let collection = violations.take(collection);
        let list = violations.take(decode::child_type(message.child_type));
        let size = violations.take(self.page_size(message.page_size));
        let index = violations.take(decode::index("start_index", message.start_index));
        if !message.page_token.is_empty() && message.start_index != 0 {
            let why = "a page_token is given";
            let value = message.start_index.to_string();
            violations.add("start_index", &value, Constraint::Forbidden(why));
        }
        let fields = ProductFields::of(&message, list, self.limits(), &mut violations);
        let consistency = violations.take(decode::consistency(message.consistency));
        violations.finish()?;
        let command = ListChildren {
            collection: required("collection_id", collection)?,
            list: required("child_type", list)?,
            products: fields.as_ref().map(|fields| self.child_products(fields)),
            start: match message.page_token.as_str() {
                "" => ChildStart::Index(index.unwrap_or_default()),
                token => ChildStart::Token(token.into()),
            },
            size: size.unwrap_or(page::DEFAULT_SIZE),
        };
        let omit_total = message.omit_total_size;
        let encode = |page| children(page, fields.as_ref(), omit_total).encode_to_vec();
        let form = if omit_total { "grpc -" } else { "grpc" };
        let (service, consistency) = (&self.context.service, consistency.unwrap_or_default());
        service
            .list_children_encoded(&caller, command, consistency, form, |page| {
                encode(page).into()
            })
            .await
    }

    async fn list_parents_page(
        &self,
        request: Request<pb::ListParentsRequest>,
    ) -> Result<pb::ListParentsResponse> {
        let (caller, message) = self.context.open(request, |m| &m.tenant_id)?;
        let mut violations = Violations::default();
        let list = violations.take(decode::child_type(message.child_type));
        let kind = list.unwrap_or(ChildType::Product);
        let child = violations.take(kind.parse_id("child_id", &message.child_id));
        let size = violations.take(self.page_size(message.page_size));
        violations.finish()?;
        let command = ListParents {
            list: required("child_type", list)?,
            child: required("child_id", child)?,
            token: (!message.page_token.is_empty()).then_some(message.page_token),
            size: size.unwrap_or(page::DEFAULT_SIZE),
        };
        let page = self.context.service.list_parents(&caller, command).await?;
        let parents = page.collections.into_iter().map(|id| pb::Parent {
            collection_id: id.into(),
        });
        Ok(pb::ListParentsResponse {
            parents: parents.collect(),
            next_page_token: page.next.unwrap_or_default(),
        })
    }
}

#[tonic::async_trait]
impl CollectionService for Collections {
    async fn create_collection(
        &self,
        request: Request<pb::CreateCollectionRequest>,
    ) -> Reply<pb::CreateCollectionResponse> {
        reply_written(self.create(request).await)
    }

    async fn get_collection(
        &self,
        request: Request<pb::GetCollectionRequest>,
    ) -> Reply<pb::GetCollectionResponse> {
        let encoded = self.get(request).await;
        reply(encoded.and_then(|encoded| decoded(&encoded.body)))
    }

    async fn batch_get_collections(
        &self,
        request: Request<pb::BatchGetCollectionsRequest>,
    ) -> Reply<pb::BatchGetCollectionsResponse> {
        reply(self.batch_get(request).await)
    }

    async fn list_collections(
        &self,
        request: Request<pb::ListCollectionsRequest>,
    ) -> Reply<pb::ListCollectionsResponse> {
        reply(self.list(request).await)
    }

    async fn update_collection(
        &self,
        request: Request<pb::UpdateCollectionRequest>,
    ) -> Reply<pb::UpdateCollectionResponse> {
        reply_written(self.update(request).await)
    }

    async fn delete_collection(
        &self,
        request: Request<pb::DeleteCollectionRequest>,
    ) -> Reply<pb::DeleteCollectionResponse> {
        reply_written(self.delete(request).await)
    }

    async fn mutate_children(
        &self,
        request: Request<pb::MutateChildrenRequest>,
    ) -> Reply<pb::MutateChildrenResponse> {
        reply_written(self.mutate(request).await)
    }

    async fn get_child(
        &self,
        request: Request<pb::GetChildRequest>,
    ) -> Reply<pb::GetChildResponse> {
        reply(self.child(request).await)
    }

    async fn list_children(
        &self,
        request: Request<pb::ListChildrenRequest>,
    ) -> Reply<pb::ListChildrenResponse> {
        let page = self.list_children_page(request).await;
        reply(page.and_then(|encoded| decoded(&encoded.body)))
    }

    async fn list_parents(
        &self,
        request: Request<pb::ListParentsRequest>,
    ) -> Reply<pb::ListParentsResponse> {
        reply(self.list_parents_page(request).await)
    }
}

impl Written for pb::CreateCollectionResponse {
    fn summary(self) -> Self {
        Self {
            collection: summary(self.collection),
        }
    }

    fn collection(&mut self) -> Option<&mut pb::Collection> {
        self.collection.as_mut()
    }
}

impl Written for pb::UpdateCollectionResponse {
    fn summary(self) -> Self {
        Self {
            collection: summary(self.collection),
        }
    }

    fn collection(&mut self) -> Option<&mut pb::Collection> {
        self.collection.as_mut()
    }
}

impl Written for pb::MutateChildrenResponse {
    fn summary(mut self) -> Self {
        let mut left = SUMMARY_IDS;
        for result in &mut self.results {
            for ids in [&mut result.existing_ids, &mut result.missing_ids] {
                ids.truncate(left);
                left -= ids.len();
            }
        }
        Self {
            collection: summary(self.collection),
            ..self
        }
    }

    fn collection(&mut self) -> Option<&mut pb::Collection> {
        self.collection.as_mut()
    }
}

impl Written for pb::DeleteCollectionResponse {
    fn summary(self) -> Self {
        self
    }
}

/// What is stored of a collection for retries: its id, and the etag of its version.
pub(super) fn summary(collection: Option<pb::Collection>) -> Option<pb::Collection> {
    collection.map(|collection| pb::Collection {
        id: collection.id,
        etag: collection.etag,
        ..pb::Collection::default()
    })
}

/// The collection as the response shows it: with the fields of the mask.
fn shown(detail: &Detail, mask: &ReadMask) -> pb::Collection {
    mask.apply(encode::collection(detail))
}

fn created(detail: &Detail) -> pb::CreateCollectionResponse {
    pb::CreateCollectionResponse {
        collection: Some(encode::collection(detail)),
    }
}

fn updated(updated: &Updated) -> pb::UpdateCollectionResponse {
    pb::UpdateCollectionResponse {
        collection: Some(encode::collection(&updated.detail)),
    }
}

/// A page of children. `fields` are those of their products, if these were asked for.
fn children(
    page: ChildPage,
    fields: Option<&ProductFields>,
    omit_total: bool,
) -> pb::ListChildrenResponse {
    let (mut products, mut reasons) = (page.products.iter(), page.reasons.into_iter());
    let children = page.children.into_iter().map(|(id, index)| pb::Child {
        id: id.into(),
        index: encode::count(index),
        product: fields
            .zip(products.next())
            .and_then(|(fields, product)| fields.encode(product)),
        reason: encode::child_reason(reasons.next()),
    });
    let total = if omit_total { 0 } else { page.total };
    pb::ListChildrenResponse {
        children: children.collect(),
        next_page_token: page.next.unwrap_or_default(),
        previous_page_token: page.previous.unwrap_or_default(),
        total_size: encode::count(total),
        etag: page.etag.to_string(),
    }
}
