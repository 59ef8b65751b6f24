//! The requests of the loads, and the data that they use.

use bytes::Bytes;
use endcap::grpc::pb::{
    self, ChildMutation, ChildType, Collection, LocalizedText, Position,
    child_mutation::{Append, MoveRange, Operation},
    get_collection_request::Key,
};
use futures::{StreamExt as _, stream};
use prost::Message as _;

use crate::{load::Turn, server::Server};

pub(crate) const GET: &str = "CollectionService/GetCollection";
pub(crate) const CHILDREN: &str = "CollectionService/ListChildren";
pub(crate) const LIST: &str = "CollectionService/ListCollections";
pub(crate) const UPDATE: &str = "CollectionService/UpdateCollection";
pub(crate) const MUTATE: &str = "CollectionService/MutateChildren";

/// The page size of reads.
const PAGE: i32 = 50;
/// How many ids a request that fills a list has.
const FILLED_AT_ONCE: usize = 100_000;
/// How many requests fill lists concurrently.
const FILLERS: usize = 4;

/// The id of a product: 24 characters, like HighLevel's.
pub(crate) fn product(number: usize) -> String {
    format!("{number:024x}")
}

pub(crate) fn get(tenant: &str, id: &str) -> pb::GetCollectionRequest {
    pb::GetCollectionRequest {
        tenant_id: tenant.into(),
        key: Some(Key::CollectionId(id.into())),
        ..Default::default()
    }
}

/// The same read, with consistency within one second.
pub(crate) fn within(tenant: &str, id: &str) -> pb::GetCollectionRequest {
    let second = prost_types::Duration {
        seconds: 1,
        nanos: 0,
    };
    pb::GetCollectionRequest {
        consistency: Some(pb::Consistency {
            requirement: Some(pb::consistency::Requirement::Within(second)),
        }),
        ..get(tenant, id)
    }
}

pub(crate) fn children(tenant: &str, id: &str, start: usize) -> pb::ListChildrenRequest {
    pb::ListChildrenRequest {
        tenant_id: tenant.into(),
        collection_id: id.into(),
        child_type: ChildType::Product.into(),
        page_size: PAGE,
        start_index: start as i32,
        ..Default::default()
    }
}

/// The same page, with the title and the slug of each product.
pub(crate) fn products(tenant: &str, id: &str, start: usize) -> pb::ListChildrenRequest {
    let fields = ["title", "slug"].map(ToOwned::to_owned);
    pb::ListChildrenRequest {
        product_mask: Some(prost_types::FieldMask {
            paths: fields.into(),
        }),
        ..children(tenant, id, start)
    }
}

pub(crate) fn list(tenant: &str) -> pb::ListCollectionsRequest {
    pb::ListCollectionsRequest {
        tenant_id: tenant.into(),
        page_size: PAGE,
        ..Default::default()
    }
}

pub(crate) fn create(tenant: &str, id: &str) -> pb::CreateCollectionRequest {
    pb::CreateCollectionRequest {
        tenant_id: tenant.into(),
        collection: Some(Collection {
            slug: id.into(),
            ..named(id, "Summer")
        }),
        ..Default::default()
    }
}

pub(crate) fn rename(tenant: &str, id: &str, number: u64) -> pb::UpdateCollectionRequest {
    pb::UpdateCollectionRequest {
        tenant_id: tenant.into(),
        collection: Some(named(id, &format!("name {number}"))),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["texts".into()],
        }),
        ..Default::default()
    }
}

/// Moves one child of a list of `length` to another position.
pub(crate) fn move_one(tenant: &str, id: &str, length: usize) -> pb::MutateChildrenRequest {
    let index = || rand::random_range(0..length) as i32;
    let from = index();
    let position = pb::position::Position::Index(index());
    let operation = Operation::MoveRange(MoveRange {
        first_index: Some(from),
        last_index: Some(from),
        position: Some(Position {
            position: Some(position),
        }),
    });
    mutate(tenant, id, operation)
}

fn mutate(tenant: &str, id: &str, operation: Operation) -> pb::MutateChildrenRequest {
    pb::MutateChildrenRequest {
        tenant_id: tenant.into(),
        collection_id: id.into(),
        child_type: ChildType::Product.into(),
        mutations: vec![ChildMutation {
            operation: Some(operation),
        }],
        ..Default::default()
    }
}

fn named(id: &str, name: &str) -> Collection {
    let text = LocalizedText {
        display_name: name.into(),
        ..Default::default()
    };
    Collection {
        id: id.into(),
        texts: [("en".to_owned(), text)].into(),
        ..Default::default()
    }
}

/// The same request every time.
pub(crate) fn always<M: prost::Message>(request: &M) -> impl Fn(Turn) -> Bytes + use<M> {
    let bytes = Bytes::from(request.encode_to_vec());
    move |_| bytes.clone()
}

/// A page at a random position of a list, as `page` requests it.
pub(crate) fn pages(
    tenant: &'static str,
    id: &'static str,
    length: usize,
    page: fn(&str, &str, usize) -> pb::ListChildrenRequest,
) -> impl Fn(Turn) -> Bytes {
    move |_| {
        let start = rand::random_range(0..length - PAGE as usize);
        page(tenant, id, start).encode_to_vec().into()
    }
}

/// Registers `count` products.
pub(crate) async fn registered(server: &Server, tenant: &str, count: usize) {
    let numbers: Vec<_> = (0..count).collect();
    for numbers in numbers.chunks(1_000) {
        let products = numbers.iter().map(|number| pb::Product {
            id: product(*number),
            title: format!("Product {number}"),
            slug: format!("product-{number}"),
            ..Default::default()
        });
        let upsert = pb::UpsertProductsRequest {
            tenant_id: tenant.into(),
            products: products.collect(),
            ..Default::default()
        };
        server.raw("ProductService/UpsertProducts", &upsert).await;
    }
}

/// Renames of the collections that [`numbered`] created.
pub(crate) fn renames(tenant: &'static str, count: usize) -> impl Fn(Turn) -> Bytes {
    move |turn| {
        let id = turn.of(count).to_string();
        rename(tenant, &id, turn.number).encode_to_vec().into()
    }
}

/// Moves of one child in the lists that [`numbered`] created.
pub(crate) fn moves(tenant: &'static str, count: usize, length: usize) -> impl Fn(Turn) -> Bytes {
    move |turn| {
        let id = turn.of(count).to_string();
        move_one(tenant, &id, length).encode_to_vec().into()
    }
}

/// Creates `count` collections with `length` products each. Their ids are numbers.
pub(crate) async fn numbered(server: &Server, tenant: &str, count: usize, length: usize) {
    let created = stream::iter(0..count).map(async |number| {
        let first = number * length;
        filled(server, tenant, &number.to_string(), first, length).await;
    });
    created.buffer_unordered(FILLERS).collect::<()>().await;
}

/// Creates a collection with `length` products, of which the first has the number `first`.
pub(crate) async fn filled(server: &Server, tenant: &str, id: &str, first: usize, length: usize) {
    let create = create(tenant, id);
    let method = "CollectionService/CreateCollection";
    server.raw(method, &create).await;
    let mut next = first;
    while next < first + length {
        let end = (next + FILLED_AT_ONCE).min(first + length);
        let append = Operation::Append(Append {
            ids: (next..end).map(product).collect(),
            ..Default::default()
        });
        server.raw(MUTATE, &mutate(tenant, id, append)).await;
        next = end;
    }
}
