//! Conditional reads: `if_none_match`.

use endcap::{
    grpc::pb::{
        self, ChildType, collection_service_client::CollectionServiceClient,
        get_collection_request::Key,
    },
    store::Engine::{self, Postgres, Sqlite},
};
use prost_types::FieldMask;
use rstest::rstest;
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt as _;

use crate::harness::{Server, append, create, mutate, named};

type Client = CollectionServiceClient<Channel>;

async fn read(
    client: &mut Client,
    key: Key,
    if_none_match: &str,
) -> Result<pb::GetCollectionResponse, Status> {
    let request = pb::GetCollectionRequest {
        key: Some(key),
        if_none_match: if_none_match.into(),
        ..pb::GetCollectionRequest::default()
    };
    client
        .get_collection(request)
        .await
        .map(|it| it.into_inner())
}

fn id(id: &str) -> Key {
    Key::CollectionId(id.into())
}

async fn update(client: &mut Client, collection: pb::Collection, path: &str) {
    let request = pb::UpdateCollectionRequest {
        collection: Some(collection),
        update_mask: Some(FieldMask {
            paths: vec![path.into()],
        }),
        ..pb::UpdateCollectionRequest::default()
    };
    client.update_collection(request).await.unwrap();
}

/// Creates two collections in a third, `above`.
async fn family(client: &mut Client) {
    create(client, "above").await;
    create(client, "other").await;
    for child in ["below", "beside"] {
        let request = pb::CreateCollectionRequest {
            collection: Some(pb::Collection {
                parent_ids: vec!["above".into()],
                ..named(child, child)
            }),
            ..pb::CreateCollectionRequest::default()
        };
        client.create_collection(request).await.unwrap();
    }
}

#[rstest]
#[tokio::test]
async fn a_conditional_read_returns_the_collection_only_if_it_changed(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    family(&mut client).await;
    let of = |id: &str| pb::Collection {
        id: id.into(),
        ..pb::Collection::default()
    };
    let shown = |active: pb::Active| pb::Collection {
        active: active.into(),
        ..of("above")
    };
    let link = pb::MutateChildrenRequest {
        child_type: ChildType::Collection.into(),
        ..mutate("other", vec![append(["below"])])
    };
    let mut kept = read(&mut client, id("below"), "").await.unwrap();
    assert!(!kept.not_modified && kept.collection.as_ref().unwrap().effective_active);
    // Changes of the response. The first one is an ancestor's, which the collection's etag does not
    // cover.
    for change in 0..5 {
        match change {
            0 => update(&mut client, shown(pb::Active::No), "active").await,
            1 => update(&mut client, shown(pb::Active::Inherit), "active").await,
            2 => {
                let renamed = pb::Collection {
                    internal_name: "new".into(),
                    ..of("below")
                };
                update(&mut client, renamed, "internal_name").await;
            }
            3 => drop(client.mutate_children(link.clone()).await.unwrap()),
            _ => {
                let request = mutate("below", vec![append(["p"])]);
                client.mutate_children(request).await.unwrap();
            }
        }
        let now = read(&mut client, id("below"), &kept.read_etag)
            .await
            .unwrap();
        assert!(!now.not_modified, "{change}");
        assert_ne!(now.collection, kept.collection, "{change}");
        assert_ne!(now.read_etag, kept.read_etag, "{change}");
        let again = read(&mut client, id("below"), &now.read_etag)
            .await
            .unwrap();
        let expected = pb::GetCollectionResponse {
            collection: None,
            not_modified: true,
            read_etag: now.read_etag.clone(),
        };
        assert_eq!(again, expected, "{change}");
        kept = now;
    }
    // An update of the parent that does not affect the response is not a change.
    let renamed = pb::Collection {
        internal_name: "new".into(),
        ..of("above")
    };
    update(&mut client, renamed, "internal_name").await;
    let now = read(&mut client, id("below"), &kept.read_etag)
        .await
        .unwrap();
    assert!(now.not_modified);
    // The read mask makes no difference.
    let masked = pb::GetCollectionRequest {
        key: Some(id("below")),
        if_none_match: kept.read_etag.clone(),
        read_mask: Some(FieldMask {
            paths: vec!["slug".into()],
        }),
        ..pb::GetCollectionRequest::default()
    };
    let masked = client.get_collection(masked).await.unwrap().into_inner();
    assert!(masked.not_modified);
}

/// Collections may have the same version, as these two get when their parent is deleted. The etag
/// of one must not be current for the other, which matters if a slug identifies them.
#[rstest]
#[tokio::test]
async fn a_read_etag_of_another_collection_does_not_match(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    family(&mut client).await;
    let request = pb::DeleteCollectionRequest {
        collection_id: "above".into(),
        force: true,
        ..pb::DeleteCollectionRequest::default()
    };
    client.delete_collection(request).await.unwrap();
    let of = async |client: &mut Client, slug: &str| {
        let read = read(client, Key::Slug(slug.into()), "").await.unwrap();
        (read.read_etag, read.collection.unwrap().etag)
    };
    let (below, version) = of(&mut client, "below").await;
    let (_, other_version) = of(&mut client, "beside").await;
    assert_eq!(version, other_version, "the version alone is ambiguous");
    let slug = |slug: &str| Key::Slug(slug.into());
    let beside = read(&mut client, slug("beside"), &below).await.unwrap();
    assert!(!beside.not_modified);
    let same = read(&mut client, slug("below"), &below).await.unwrap();
    assert!(same.not_modified);
}

#[rstest]
#[tokio::test]
async fn only_a_read_etag_is_accepted_in_if_none_match(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    // The root of an empty tenant has a read etag, too.
    let root = read(&mut client, id("rootCategory"), "").await.unwrap();
    let again = read(&mut client, id("rootCategory"), &root.read_etag).await;
    assert!(again.unwrap().not_modified);
    let a = create(&mut client, "a").await;
    for odd in [a.etag.as_str(), "*", "W/\"1\"", "1-2-a"] {
        let status = read(&mut client, id("a"), odd).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{odd}");
        let details = status.get_error_details();
        let violations = details.bad_request().unwrap().field_violations.clone();
        assert_eq!(violations[0].field, "if_none_match");
        assert!(
            status.message().contains("a read_etag of a response"),
            "{status:?}"
        );
    }
}
