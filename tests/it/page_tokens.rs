//! Page tokens: only those are accepted that a server on this database issued for the same tenant
//! and request. All others are rejected at once.

use std::time::{Duration, Instant};

use endcap::grpc::pb::{
    self, ChildType, collection_service_client::CollectionServiceClient,
    product_service_client::ProductServiceClient,
};
use endcap::store::Engine::{self, Postgres, Sqlite};
use rstest::rstest;
use tonic::{Status, transport::Channel};

use crate::{
    auth::endcap,
    collections::reason,
    harness::{Server, append, create, mutate},
    postgres,
};

/// The paged lists.
const LISTS: [List; 5] = [
    List::Collections,
    List::Products,
    List::Children("a"),
    List::Children("b"),
    List::Parents,
];

#[derive(Clone, Copy, Debug)]
enum List {
    Collections,
    Products,
    /// The children of this collection.
    Children(&'static str),
    Parents,
}

struct Client {
    collections: CollectionServiceClient<Channel>,
    products: ProductServiceClient<Channel>,
}

impl Client {
    async fn of(server: &Server) -> Self {
        Self {
            collections: server.grpc().await,
            products: server.products().await,
        }
    }

    /// The token of the next page.
    async fn next(&mut self, list: List, page_token: &str) -> Result<String, Status> {
        self.next_of("default", list, page_token).await
    }

    async fn next_of(
        &mut self,
        tenant: &str,
        list: List,
        page_token: &str,
    ) -> Result<String, Status> {
        let tenant_id = tenant.to_owned();
        let page_token = page_token.to_owned();
        let page_size = 1;
        Ok(match list {
            List::Collections => {
                let request = pb::ListCollectionsRequest {
                    tenant_id,
                    page_token,
                    page_size,
                    ..Default::default()
                };
                let page = self.collections.list_collections(request).await?;
                page.into_inner().next_page_token
            }
            List::Products => {
                let request = pb::ListProductsRequest {
                    tenant_id,
                    page_token,
                    page_size,
                    ..Default::default()
                };
                let page = self.products.list_products(request).await?;
                page.into_inner().next_page_token
            }
            List::Children(id) => {
                let request = pb::ListChildrenRequest {
                    tenant_id,
                    page_token,
                    page_size,
                    collection_id: id.into(),
                    child_type: ChildType::Product.into(),
                    ..Default::default()
                };
                let page = self.collections.list_children(request).await?;
                page.into_inner().next_page_token
            }
            List::Parents => {
                let request = pb::ListParentsRequest {
                    tenant_id,
                    page_token,
                    page_size,
                    child_type: ChildType::Product.into(),
                    child_id: "p0".into(),
                };
                let page = self.collections.list_parents(request).await?;
                page.into_inner().next_page_token
            }
        })
    }

    /// The tokens of the second pages of all lists.
    async fn first_tokens(&mut self) -> Vec<(List, String)> {
        let mut tokens = Vec::new();
        for list in LISTS {
            let token = self.next(list, "").await.unwrap();
            assert_ne!(token, "", "{list:?}");
            tokens.push((list, token));
        }
        tokens
    }

    async fn accepts(&mut self, list: List, token: &str) -> bool {
        match self.next(list, token).await {
            Ok(_) => true,
            Err(status) => {
                assert_eq!(reason(&status), "PAGE_TOKEN_INVALID", "{list:?} {token}");
                false
            }
        }
    }
}

/// Creates at least three pages of each list.
async fn fill(server: &Server) {
    let mut client = server.grpc().await;
    for id in ["a", "b", "c"] {
        create(&mut client, id).await;
        let ids = (0..1_000).map(|number| format!("p{number}"));
        let request = mutate(id, vec![append(ids)]);
        client.mutate_children(request).await.unwrap();
    }
    let product = |number| pb::Product {
        id: format!("p{number}"),
        title: "Hat".into(),
        ..Default::default()
    };
    let request = pb::UpsertProductsRequest {
        products: (0..4).map(product).collect(),
        ..Default::default()
    };
    let mut client = server.products().await;
    client.upsert_products(request).await.unwrap();
}

/// All variants of a token with one byte changed, cut off or appended.
fn altered(token: &str) -> Vec<String> {
    let mut all = Vec::new();
    for at in 0..token.len() {
        let other = match &token[at..=at] {
            "A" => "B",
            "a" => "A",
            _ => "a",
        };
        let mut changed = token.to_owned();
        changed.replace_range(at..=at, other);
        all.push(changed);
        // An empty token means the first page.
        if at > 0 {
            all.push(token[..at].to_owned());
            all.push(token[at..].to_owned());
        }
    }
    for more in ["A", "0", "=", ".", " ", "\n"] {
        all.push(format!("{token}{more}"));
        all.push(format!("{more}{token}"));
    }
    // The same bits for a lenient base64 decoder.
    all.push(token.to_uppercase());
    all.push(token.replacen('.', "=.", 1));
    all.retain(|other| other != token);
    all
}

#[rstest]
#[tokio::test]
async fn an_altered_page_token_is_rejected(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    fill(&server).await;
    let mut client = Client::of(&server).await;
    for (list, token) in client.first_tokens().await {
        for altered in altered(&token) {
            let accepted = client.accepts(list, &altered).await;
            assert!(!accepted, "{list:?}: {altered} for {token}");
        }
        assert!(client.accepts(list, &token).await, "{list:?}");
    }
}

#[rstest]
#[tokio::test]
async fn a_page_token_of_another_tenant_or_request_is_rejected(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    fill(&server).await;
    let mut client = Client::of(&server).await;
    for (of, (_, token)) in client.first_tokens().await.into_iter().enumerate() {
        for (to, list) in LISTS.into_iter().enumerate() {
            let accepted = client.accepts(list, &token).await;
            assert_eq!(accepted, of == to, "{list:?} {of}");
            let status = client.next_of("other", list, &token).await.unwrap_err();
            assert_eq!(reason(&status), "PAGE_TOKEN_INVALID");
        }
    }
}

#[rstest]
#[tokio::test]
async fn long_page_tokens_are_rejected_quickly(#[values(Sqlite, Postgres)] engine: Engine) {
    const LENGTH: usize = 2 << 20;
    let server = Server::new(engine).await;
    fill(&server).await;
    let mut client = Client::of(&server).await;
    let started = Instant::now();
    for (list, token) in client.first_tokens().await {
        // ",xx" in base64, which would lengthen a list of ids, in all alignments.
        let ids = "LHh4".repeat(LENGTH / 4);
        for padding in ["", "A", "AA", "AAA"] {
            let long = format!("{token}{padding}{ids}");
            assert!(!client.accepts(list, &long).await, "{list:?}");
        }
        assert!(!client.accepts(list, &".".repeat(LENGTH)).await);
    }
    // Half a minute for one of them, if such a token were parsed.
    let took = started.elapsed();
    assert!(took < Duration::from_secs(15), "{took:?}");
}

/// A server on this PostgreSQL database.
async fn start_at(database: &str) -> Server {
    Server::start_at(Some(database.to_owned()), endcap::config::Flags::default()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_accept_each_others_page_tokens_across_one_rotation() {
    let database = postgres::new_database().await;
    let a = start_at(&database).await;
    fill(&a).await;
    let b = start_at(&database).await;
    let [mut of_a, mut of_b] = [Client::of(&a).await, Client::of(&b).await];
    let old = of_a.first_tokens().await;
    for (list, token) in &old {
        assert!(of_b.accepts(*list, token).await, "{list:?}");
        let third = of_b.next(*list, token).await.unwrap();
        assert!(of_a.accepts(*list, &third).await, "{list:?}");
    }

    assert_eq!(endcap(&a, &["secret", "rotate"]), "secrets rotated: 1\n");
    let c = start_at(&database).await;
    let mut of_c = Client::of(&c).await;
    let new = of_c.first_tokens().await;
    for ((list, new), (_, old)) in new.iter().zip(&old) {
        assert_ne!(new, old);
        assert!(of_c.accepts(*list, old).await, "{list:?}");
        // A server that was running before learns of the rotation from the token.
        let deadline = Instant::now() + Duration::from_secs(30);
        while !of_a.accepts(*list, new).await {
            assert!(Instant::now() < deadline, "{list:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(of_a.accepts(*list, old).await, "{list:?}");
    }

    endcap(&a, &["secret", "rotate"]);
    let d = start_at(&database).await;
    let mut of_d = Client::of(&d).await;
    for ((list, new), (_, old)) in new.iter().zip(&old) {
        assert!(of_d.accepts(*list, new).await, "{list:?}");
        assert!(!of_d.accepts(*list, old).await, "{list:?}");
    }
}
