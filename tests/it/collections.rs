//! Collections over gRPC: create, read, list, update, delete, and what each refuses.

use endcap::grpc::pb;
use prost_types::FieldMask;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::harness::{Server, append, both, create, mutate, named, products};

/// The reason of an error, as clients read it.
pub(crate) fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    details.error_info().unwrap().reason.clone()
}

#[tokio::test]
async fn a_collection_is_created_read_and_mutated() {
    both(async |server: Server| {
        let mut client = server.grpc().await;
        let made = create(&mut client, "summer").await;
        assert_eq!(made.parent_ids, ["rootCategory"]);
        assert_eq!(made.slug, "summer");
        assert!(made.effective_active);
        let request = mutate("summer", vec![append(["a", "b", "c"])]);
        let answer = client.mutate_children(request).await.unwrap().into_inner();
        assert_eq!(answer.results[0].added_count, 3);
        assert_eq!(answer.collection.unwrap().stats.unwrap().product_count, 3);
        assert_eq!(products(&mut client, "summer").await, ["a", "b", "c"]);
        let request = pb::GetCollectionRequest {
            key: Some(pb::get_collection_request::Key::Slug("summer".into())),
            ..pb::GetCollectionRequest::default()
        };
        let read = client.get_collection(request).await.unwrap().into_inner();
        assert_eq!(read.stats.unwrap().product_count, 3);
        assert_ne!(read.etag, made.etag);
    })
    .await;
}
