//! The methods of `CollectionService`: decode, call, encode.

use std::sync::Arc;

use prost::Message;
use tonic::{Request, Response, Status};

use super::{
    Context, decode, encode,
    error::status,
    mask::{self, ReadMask},
    pb::{self, collection_service_server::CollectionService},
};
use crate::{
    domain::{
        Caller, ChildId, CollectionId, Draft, Error, Etag, RequestId, Result, Rule, Slug, TenantId,
        Violation, Violations, digest::sha256, page,
    },
    service::{
        Answer, ChildMutation, ChildStart, CreateCollection, DeleteCollection, Detail, Include,
        Key, ListChildren, ListCollections, ListParents, PageStart, Parents, Retry,
        UpdateCollection, Updated,
    },
    store::{listing::Filter, requests::Retryable},
};

#[derive(Debug)]
pub(super) struct Collections {
    context: Context,
}

pub(super) type Reply<T> = Result<Response<T>, Status>;

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

    async fn create(
        &self,
        request: Request<pb::CreateCollectionRequest>,
    ) -> Result<pb::Collection> {
        let (caller, message) = open(request, |m| &m.tenant_id)?;
        let retry = retry(
            "CreateCollection",
            &message.request_id,
            &message,
            encode_detail,
        )?;
        let mut violations = Violations::default();
        let collection = required("collection", message.collection)?;
        let id = match collection.id.as_str() {
            "" => None,
            id => violations.take(CollectionId::parse("collection.id", id)),
        };
        let kind = decode::kind(&collection, &mut violations);
        let (changes, parents) = mask::create(&collection, self.limits(), &mut violations);
        let parents = parents.unwrap_or_default();
        if message.orphaned && !parents.is_empty() {
            let why = "parent_ids are given";
            violations.add("orphaned", "true", Rule::Forbidden(why));
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
            include: Include::default(),
            retry,
        };
        let answer = self
            .context
            .service
            .create_collection(&caller, command)
            .await?;
        self::answer(answer, |detail| encode::collection(&detail))
    }

    async fn get(&self, request: Request<pb::GetCollectionRequest>) -> Result<pb::Collection> {
        let (caller, message) = open(request, |m| &m.tenant_id)?;
        let mask = ReadMask::parse(message.read_mask)?;
        let key = match required("key", message.key)? {
            pb::get_collection_request::Key::Id(id) => Key::Id(CollectionId::parse("id", &id)?),
            pb::get_collection_request::Key::Slug(slug) => {
                Key::Slug(Slug::parse("slug", &slug, self.limits().name_chars)?)
            }
        };
        let detail = self.context.service.get_collection(&caller, key).await?;
        Ok(mask.apply(encode::collection(&detail)))
    }

    async fn batch_get(
        &self,
        request: Request<pb::BatchGetCollectionsRequest>,
    ) -> Result<pb::BatchGetCollectionsResponse> {
        let (caller, message) = open(request, |m| &m.tenant_id)?;
        let mut violations = Violations::default();
        let mask = violations.take(ReadMask::parse(message.read_mask));
        let ids = decode::collection_ids("ids", &message.ids, &mut violations);
        violations.finish()?;
        let batch = self
            .context
            .service
            .batch_get_collections(&caller, ids)
            .await?;
        let collections = batch.found.iter().map(encode::collection);
        Ok(pb::BatchGetCollectionsResponse {
            collections: match mask {
                Some(mask) => collections.map(|c| mask.apply(c)).collect(),
                None => collections.collect(),
            },
            missing_ids: batch.missing.into_iter().map(String::from).collect(),
        })
    }

    async fn list(
        &self,
        request: Request<pb::ListCollectionsRequest>,
    ) -> Result<pb::ListCollectionsResponse> {
        let (caller, message) = open(request, |m| &m.tenant_id)?;
        let mut violations = Violations::default();
        let mask = violations.take(ReadMask::parse(message.read_mask));
        let filter = filter(message.filter.unwrap_or_default(), &mut violations);
        let size = violations.take(self.page_size(message.page_size));
        violations.finish()?;
        let command = ListCollections {
            filter,
            all_there: false,
            order: Vec::new(),
            below: None,
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
        let mut response = encode::collections(page);
        if let Some(mask) = mask {
            let collections = response.collections.into_iter();
            response.collections = collections.map(|c| mask.apply(c)).collect();
        }
        Ok(response)
    }

    async fn update(
        &self,
        request: Request<pb::UpdateCollectionRequest>,
    ) -> Result<pb::Collection> {
        let (caller, message) = open(request, |m| &m.tenant_id)?;
        let retry = retry(
            "UpdateCollection",
            &message.request_id,
            &message,
            encode_updated,
        )?;
        let mut violations = Violations::default();
        let collection = required("collection", message.collection)?;
        let id = violations.take(CollectionId::parse("collection.id", &collection.id));
        let etag = violations.take(etag("collection.etag", &collection.etag));
        let (changes, parents) = mask::update(
            message.update_mask,
            &collection,
            self.limits(),
            &mut violations,
        );
        violations.finish()?;
        let command = UpdateCollection {
            changes,
            parents,
            etag: etag.flatten(),
            retry,
            ..UpdateCollection::of(required("collection.id", id)?)
        };
        let answer = self
            .context
            .service
            .update_collection(&caller, command)
            .await?;
        self::answer(answer, |updated| encode::collection(&updated.detail))
    }

    async fn delete(&self, request: Request<pb::DeleteCollectionRequest>) -> Result<()> {
        let (caller, message) = open(request, |m| &m.tenant_id)?;
        let retry = retry("DeleteCollection", &message.request_id, &message, |()| {
            Vec::new()
        })?;
        let mut violations = Violations::default();
        let id = violations.take(CollectionId::parse("id", &message.id));
        let etag = violations.take(etag("etag", &message.etag));
        violations.finish()?;
        let command = DeleteCollection {
            id: required("id", id)?,
            force: message.force,
            etag: etag.flatten(),
            retry,
        };
        let answer = self
            .context
            .service
            .delete_collection(&caller, command)
            .await?;
        self::answer(answer, |()| ())
    }

    async fn mutate(
        &self,
        request: Request<pb::MutateChildrenRequest>,
    ) -> Result<pb::MutateChildrenResponse> {
        let (caller, message) = open(request, |m| &m.tenant_id)?;
        let retry = retry(
            "MutateChildren",
            &message.request_id,
            &message,
            encode_mutated,
        )?;
        let mut violations = Violations::default();
        let id = violations.take(CollectionId::parse("collection_id", &message.collection_id));
        let etag = violations.take(etag("etag", &message.etag));
        let list = violations.take(decode::list(message.list));
        if message.mutations.is_empty() {
            violations.add("mutations", "", Rule::Empty);
        }
        let mutations: Vec<_> = message
            .mutations
            .into_iter()
            .enumerate()
            .filter_map(|(at, mutation)| decode::mutation(at, mutation, &mut violations))
            .collect();
        violations.finish()?;
        let list = required("list", list)?;
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
        let answer = self
            .context
            .service
            .update_collection(&caller, command)
            .await?;
        self::answer(answer, |updated| encode::mutated(&updated))
    }

    async fn child(&self, request: Request<pb::GetChildRequest>) -> Result<pb::Child> {
        let (caller, message) = open(request, |m| &m.tenant_id)?;
        let mut violations = Violations::default();
        let collection = CollectionId::parse("collection_id", &message.collection_id);
        let collection = violations.take(collection);
        let list = violations.take(decode::list(message.list));
        let child = violations.take(ChildId::parse("child_id", &message.child_id));
        violations.finish()?;
        let collection = required("collection_id", collection)?;
        let (list, child) = (required("list", list)?, required("child_id", child)?);
        let service = &self.context.service;
        let index = service
            .get_child(&caller, &collection, list, &child)
            .await?;
        Ok(pb::Child {
            id: child.into(),
            index: encode::count(index),
        })
    }

    async fn list_children_page(
        &self,
        request: Request<pb::ListChildrenRequest>,
    ) -> Result<pb::ListChildrenResponse> {
        let (caller, message) = open(request, |m| &m.tenant_id)?;
        let mut violations = Violations::default();
        let collection = CollectionId::parse("collection_id", &message.collection_id);
        let collection = violations.take(collection);
        let list = violations.take(decode::list(message.list));
        let size = violations.take(self.page_size(message.page_size));
        let index = violations.take(decode::index("start_index", message.start_index));
        if !message.page_token.is_empty() && message.start_index != 0 {
            let why = "a page_token is given";
            let value = message.start_index.to_string();
            violations.add("start_index", &value, Rule::Forbidden(why));
        }
        violations.finish()?;
        let command = ListChildren {
            collection: required("collection_id", collection)?,
            list: required("list", list)?,
            start: match message.page_token.as_str() {
                "" => ChildStart::Index(index.unwrap_or_default()),
                token => ChildStart::Token(token.into()),
            },
            size: size.unwrap_or(page::DEFAULT_SIZE),
        };
        let page = self.context.service.list_children(&caller, command).await?;
        let children = page.children.into_iter();
        Ok(pb::ListChildrenResponse {
            children: children
                .map(|(id, index)| pb::Child {
                    id: id.into(),
                    index: encode::count(index),
                })
                .collect(),
            next_page_token: page.next.unwrap_or_default(),
            previous_page_token: page.previous.unwrap_or_default(),
            total_size: encode::count(page.total),
            etag: page.etag.to_string(),
        })
    }

    async fn list_parents_page(
        &self,
        request: Request<pb::ListParentsRequest>,
    ) -> Result<pb::ListParentsResponse> {
        let (caller, message) = open(request, |m| &m.tenant_id)?;
        let mut violations = Violations::default();
        let list = violations.take(decode::list(message.list));
        let child = violations.take(ChildId::parse("child_id", &message.child_id));
        let size = violations.take(self.page_size(message.page_size));
        violations.finish()?;
        let command = ListParents {
            list: required("list", list)?,
            child: required("child_id", child)?,
            token: (!message.page_token.is_empty()).then_some(message.page_token),
            size: size.unwrap_or(page::DEFAULT_SIZE),
        };
        let page = self.context.service.list_parents(&caller, command).await?;
        Ok(pb::ListParentsResponse {
            collection_ids: page.collections.into_iter().map(String::from).collect(),
            next_page_token: page.next.unwrap_or_default(),
        })
    }
}

#[tonic::async_trait]
impl CollectionService for Collections {
    async fn create_collection(
        &self,
        request: Request<pb::CreateCollectionRequest>,
    ) -> Reply<pb::Collection> {
        reply(self.create(request).await)
    }

    async fn get_collection(
        &self,
        request: Request<pb::GetCollectionRequest>,
    ) -> Reply<pb::Collection> {
        reply(self.get(request).await)
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
    ) -> Reply<pb::Collection> {
        reply(self.update(request).await)
    }

    async fn delete_collection(&self, request: Request<pb::DeleteCollectionRequest>) -> Reply<()> {
        reply(self.delete(request).await)
    }

    async fn mutate_children(
        &self,
        request: Request<pb::MutateChildrenRequest>,
    ) -> Reply<pb::MutateChildrenResponse> {
        reply(self.mutate(request).await)
    }

    async fn get_child(&self, request: Request<pb::GetChildRequest>) -> Reply<pb::Child> {
        reply(self.child(request).await)
    }

    async fn list_children(
        &self,
        request: Request<pb::ListChildrenRequest>,
    ) -> Reply<pb::ListChildrenResponse> {
        reply(self.list_children_page(request).await)
    }

    async fn list_parents(
        &self,
        request: Request<pb::ListParentsRequest>,
    ) -> Reply<pb::ListParentsResponse> {
        reply(self.list_parents_page(request).await)
    }
}

/// The caller and the message of a request.
pub(super) fn open<T>(request: Request<T>, tenant: fn(&T) -> &str) -> Result<(Caller, T)> {
    let (_, extensions, message) = request.into_parts();
    let caller = extensions.get::<Caller>();
    let caller = caller.ok_or_else(Error::unauthenticated)?.clone();
    let caller = match tenant(&message) {
        "" => caller,
        name => caller.within(TenantId::parse("tenant_id", name)?),
    };
    Ok((caller, message))
}

pub(super) fn reply<T>(result: Result<T>) -> Reply<T> {
    result.map(Response::new).map_err(|error| status(&error))
}

fn filter(filter: pb::list_collections_request::Filter, violations: &mut Violations) -> Filter {
    let ids = decode::collection_ids("filter.ids", &filter.ids, violations);
    Filter {
        name: (!filter.name.is_empty()).then_some(filter.name),
        ids: (!filter.ids.is_empty()).then_some(ids),
        parent: match filter.parent_id.as_str() {
            "" => None,
            id => violations.take(CollectionId::parse("filter.parent_id", id)),
        },
        smart: decode::is_smart(filter.kind, "filter.kind", violations),
        ..Filter::default()
    }
}

fn etag(field: &str, value: &str) -> Result<Option<Etag>, Violation> {
    match value {
        "" => Ok(None),
        value => Etag::parse(field, value).map(Some),
    }
}

pub(super) fn required<T>(field: &str, value: Option<T>) -> Result<T> {
    value.ok_or_else(|| Violation::new(field, "", Rule::Required).into())
}

/// What makes a retry of the message safe; none where its client did not ask.
pub(super) fn retry<T: 'static>(
    method: &'static str,
    id: &str,
    message: &impl Message,
    encode: fn(&T) -> Vec<u8>,
) -> Result<Option<Retry<T>>> {
    if id.is_empty() {
        return Ok(None);
    }
    let request = Retryable {
        method,
        id: RequestId::parse("request_id", id)?,
        fingerprint: sha256(message.encode_to_vec()),
    };
    let encode = Arc::new(encode);
    Ok(Some(Retry { request, encode }))
}

/// The message of a new answer, or of a kept one.
pub(super) fn answer<T, M: Message + Default>(answer: Answer<T>, encode: fn(T) -> M) -> Result<M> {
    match answer {
        Answer::New(value) => Ok(encode(value)),
        Answer::Kept(bytes) => M::decode(bytes.as_slice()).map_err(Error::internal),
    }
}

fn encode_detail(detail: &Detail) -> Vec<u8> {
    encode::collection(detail).encode_to_vec()
}

fn encode_updated(updated: &Updated) -> Vec<u8> {
    encode::collection(&updated.detail).encode_to_vec()
}

fn encode_mutated(updated: &Updated) -> Vec<u8> {
    encode::mutated(updated).encode_to_vec()
}
