//! Unknown API keys: how many of them cause database lookups.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use endcap::store::Engine::{self, Postgres, Sqlite};
use endcap::{
    auth::{Authenticator, Peer},
    config::Flags,
    domain::{ApiKey, Caller, Reason, Scope, TenantId, Tenants, key},
    grpc::pb::{self, get_collection_request::Key},
    store::{Store, keys},
};
use futures::future::join_all;
use rstest::rstest;

use super::{frame, grpc, native_json, new_key};
use crate::{harness::Server, highlevel, postgres};

const LIMIT: usize = 20;

fn flags() -> Flags {
    Flags {
        auth: Some("keys".into()),
        key_cache_time: Some("1ms".into()),
        rate_of_unknown_keys: Some(format!("{LIMIT}/1h")),
        ..Flags::default()
    }
}

/// An authenticator with its own database, and the number of its lookups there.
async fn counted(flags: Flags) -> (Authenticator, Store, Arc<AtomicUsize>) {
    let config = endcap::app::config(&flags, None).unwrap();
    let store = Store::connect(&config.database).await.unwrap();
    store.migrate().await.unwrap();
    let looked_up = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&looked_up);
    store.on_statement(move |statement| {
        let tables = ["\"api_keys\"", "\"logins\"", "\"secrets\""];
        let is_about = |table: &&str| statement.sql.contains(*table);
        if tables.iter().any(is_about) {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    let authenticator = Authenticator::new(&config.auth, &store).unwrap();
    (authenticator, store, looked_up)
}

async fn new_stored_key(store: &Store) -> String {
    let (text, id) = key::generate();
    let key = ApiKey {
        id,
        label: String::new(),
        hash: key::hash(&text),
        tenants: Tenants::All,
        scopes: [Scope::Admin].into(),
        expire_time: None,
    };
    let operator = Caller::operator(TenantId::trusted("default"));
    let proof = operator.administering().unwrap();
    keys::insert(store, &proof, key).await.unwrap();
    text
}

fn peer(address: &str) -> Option<Peer> {
    Some(Peer::of(address.parse().unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn lookups_of_unknown_keys_are_rate_limited_per_address() {
    let folder = tempfile::tempdir().unwrap();
    for database_url in [None, Some(postgres::new_database().await)] {
        let flags = Flags {
            data_dir: Some(folder.path().display().to_string()),
            database_url,
            ..flags()
        };
        let (authenticator, store, looked_up) = counted(flags).await;
        let good = new_stored_key(&store).await;
        looked_up.store(0, Ordering::SeqCst);
        let identify = |key: String, from: &'static str| {
            let authenticator = &authenticator;
            async move {
                let identity = authenticator.identify(Some(&key), None, peer(from)).await;
                identity.err().map(|error| error.reason)
            }
        };
        assert_eq!(identify(good.clone(), "10.0.0.1").await, None);
        let made_up = (0..2_000).map(|_| identify(key::generate().0, "10.0.0.1"));
        let told = join_all(made_up).await;
        // Two lookups run concurrently, so one more may be counted too late.
        let count = looked_up.load(Ordering::SeqCst) - 1;
        assert!((LIMIT..=LIMIT + 1).contains(&count), "{count}");
        let of = |reason| told.iter().filter(|told| **told == Some(reason)).count();
        assert_eq!(of(Reason::Unauthenticated), count);
        assert_eq!(of(Reason::RateLimited), 2_000 - count);

        // A key that was found before is still looked up each time.
        for _ in 0..LIMIT * 2 {
            assert_eq!(identify(good.clone(), "10.0.0.1").await, None);
        }
        // Other addresses have their own rate limit.
        let other = new_stored_key(&store).await;
        let limited = Some(Reason::RateLimited);
        assert_eq!(identify(other.clone(), "10.0.0.1").await, limited);
        assert_eq!(identify(other, "10.0.0.2").await, None);
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_key_is_not_looked_up_again_while_it_is_cached() {
    let folder = tempfile::tempdir().unwrap();
    for database_url in [None, Some(postgres::new_database().await)] {
        let flags = Flags {
            data_dir: Some(folder.path().display().to_string()),
            database_url,
            key_cache_time: Some("1h".into()),
            ..flags()
        };
        let (authenticator, store, looked_up) = counted(flags).await;
        let revoked = new_stored_key(&store).await;
        let operator = Caller::operator(TenantId::trusted("default"));
        let proof = operator.administering().unwrap();
        let id = key::id(&revoked).unwrap();
        assert!(keys::revoke(&store, &proof, id).await.unwrap());
        looked_up.store(0, Ordering::SeqCst);
        for key in [revoked, key::generate().0] {
            for _ in 0..LIMIT * 2 {
                let from = peer("10.0.0.1");
                let identity = authenticator.identify(Some(&key), None, from).await;
                assert_eq!(identity.unwrap_err().reason, Reason::Unauthenticated);
            }
        }
        assert_eq!(looked_up.load(Ordering::SeqCst), 2);
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_login_tokens_cause_at_most_one_lookup_per_second() {
    let folder = tempfile::tempdir().unwrap();
    for database_url in [None, Some(postgres::new_database().await)] {
        let flags = Flags {
            data_dir: Some(folder.path().display().to_string()),
            database_url,
            ..flags()
        };
        let (authenticator, store, looked_up) = counted(flags).await;
        let key = new_stored_key(&store).await;
        let token = authenticator.log_in(Some(&key), None).await.unwrap().text;
        looked_up.store(0, Ordering::SeqCst);
        let begun = Instant::now();
        let forged = (0..2_000).map(|n| {
            let (authenticator, forged) = (&authenticator, format!("{token}{n}"));
            async move {
                let from = peer("10.0.0.1");
                let identity = authenticator.identify(Some(&forged), None, from).await;
                identity.unwrap_err().reason
            }
        });
        let told = join_all(forged).await;
        assert!(told.iter().all(|told| *told == Reason::Unauthenticated));
        let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap();
        assert!(looked_up.load(Ordering::SeqCst) <= seconds + 1);
        store.close().await;
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn unknown_keys_are_rate_limited_in_each_protocol_and_known_callers_are_not(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::start(engine, flags()).await;
    let before = server.refused("rate_of_unknown_keys").await;
    let root = || {
        frame(&pb::GetCollectionRequest {
            tenant_id: "default".into(),
            key: Some(Key::CollectionId("rootCategory".into())),
            ..Default::default()
        })
    };
    let good = new_key(&server, "default", &["admin"], &[]);
    let asked = async |key: &str| grpc(&server, "GetCollection", Some(key), root()).await.told;
    assert_eq!(asked(&good).await, "Ok");
    let login = |key: &str| {
        let login = server
            .client
            .post(format!("{}/ccadmin/v1/login", server.http));
        let login = login.header("content-type", "application/x-www-form-urlencoded");
        login.body("grant_type=client_credentials").bearer_auth(key)
    };
    for _ in 0..LIMIT {
        let response = login(&key::generate().0).send().await.unwrap();
        assert_eq!(response.status(), 401);
    }
    // From here on, unknown keys cause no lookups, which would block.
    let held = server.hold_keys().await;
    let made_up = key::generate().0;
    let told = asked(&made_up).await;
    assert_eq!(told, "ResourceExhausted RATE_LIMITED");
    let told = native_json(&server, "GetCollection", Some(&made_up), root())
        .await
        .told;
    assert_eq!(told, "ResourceExhausted RATE_LIMITED");
    let rest = highlevel::request(&server, reqwest::Method::GET, "/a?altId=default");
    let oracle = format!("{}/ccadmin/v1/collections/a", server.http);
    for request in [
        rest.bearer_auth(&made_up),
        server.client.get(oracle).bearer_auth(&made_up),
        login(&made_up),
    ] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 429);
        assert!(response.headers().contains_key("retry-after"));
    }
    if let Some(held) = held {
        held.rollback().await.unwrap();
    }
    assert_eq!(asked(&good).await, "Ok");
    assert!(server.refused("rate_of_unknown_keys").await >= before + 5);
}
