//! The client of the demo. It uses the public APIs, because the demo shows what any client gets.

use std::net::SocketAddr;

use serde_json::Value;
use tonic::transport::Channel;

use crate::{
    cli::outcome::Failure,
    grpc::pb::{
        self, child_mutation::Operation, collection_service_client::CollectionServiceClient,
        rule_service_client::RuleServiceClient,
    },
};

/// The id of the collection with the long list.
pub(super) const LONG: &str = "everything";

#[derive(Debug)]
pub(super) struct Client {
    collections: CollectionServiceClient<Channel>,
    rules: RuleServiceClient<Channel>,
    json: reqwest::Client,
    url: String,
}

impl Client {
    pub(super) async fn connect(grpc: SocketAddr, http: SocketAddr) -> Result<Self, Failure> {
        let channel = Channel::from_shared(format!("http://{grpc}"))?;
        let channel = channel.connect().await?;
        Ok(Self {
            collections: CollectionServiceClient::new(channel.clone()),
            rules: RuleServiceClient::new(channel),
            // Without a proxy, as the server is on this machine.
            json: reqwest::Client::builder().no_proxy().build()?,
            url: format!("http://{http}"),
        })
    }

    /// Sends a POST request with JSON.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<(), Failure> {
        let request = self.json.post(format!("{}{path}", self.url)).json(body);
        let response = request.send().await?;
        if response.status().is_success() {
            return Ok(());
        }
        let status = response.status();
        Err(format!("{path}: {status}: {}", response.text().await?).into())
    }

    /// Applies a mutation to the long list.
    pub(super) async fn mutate(&self, operation: Operation) -> Result<(), Failure> {
        let request = pb::MutateChildrenRequest {
            collection_id: LONG.into(),
            child_type: pb::ChildType::Product.into(),
            mutations: vec![pb::ChildMutation {
                operation: Some(operation),
            }],
            ..pb::MutateChildrenRequest::default()
        };
        self.collections.clone().mutate_children(request).await?;
        Ok(())
    }

    /// Reads a page of the long list.
    pub(super) async fn page(&self, start: u32, count: u32) -> Result<(), Failure> {
        let request = pb::ListChildrenRequest {
            collection_id: LONG.into(),
            child_type: pb::ChildType::Product.into(),
            start_index: i32::try_from(start)?,
            page_size: i32::try_from(count)?,
            ..pb::ListChildrenRequest::default()
        };
        self.collections.clone().list_children(request).await?;
        Ok(())
    }

    /// Looks up the index of a product in the long list.
    pub(super) async fn find(&self, product: &str) -> Result<(), Failure> {
        let request = pb::GetChildRequest {
            collection_id: LONG.into(),
            child_type: pb::ChildType::Product.into(),
            child_id: product.into(),
            ..pb::GetChildRequest::default()
        };
        self.collections.clone().get_child(request).await?;
        Ok(())
    }

    /// Explains why a product is or is not in a smart collection.
    pub(super) async fn explain(&self, collection: &str, product: &str) -> Result<(), Failure> {
        let request = pb::ExplainMembershipRequest {
            collection_id: collection.into(),
            product_id: product.into(),
            ..pb::ExplainMembershipRequest::default()
        };
        self.rules.clone().explain_membership(request).await?;
        Ok(())
    }
}
