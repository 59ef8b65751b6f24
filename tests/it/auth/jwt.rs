//! JWTs of an issuer: which ones are accepted, and where the issuer's keys come from.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, http::StatusCode, routing::get};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use endcap::store::Engine::{self, Postgres, Sqlite};
use endcap::{
    config::Flags,
    grpc::pb::{self, get_collection_request::Key},
    http::{self, Listener},
};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{AUDIENCE, ISSUER, Issuer, frame, grpc, jwt_flags, now, write_jwks};
use crate::harness::{Server, named};

async fn told(server: &Server, token: &str) -> String {
    let request = pb::GetCollectionRequest {
        tenant_id: "default".into(),
        key: Some(Key::CollectionId("rootCategory".into())),
        ..Default::default()
    };
    let outcome = grpc(server, "GetCollection", Some(token), frame(&request)).await;
    outcome.told
}

const REFUSED: &str = "Unauthenticated UNAUTHENTICATED";
const READ: &str = "collections.read";

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn only_tokens_with_valid_claims_and_signatures_are_accepted(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let folder = tempfile::tempdir().unwrap();
    let jwks = folder.path().join("jwks");
    let issuer = Issuer::new("k1");
    let unlisted = Issuer::new("k2");
    write_jwks(&jwks, &[&issuer]);
    let server = Server::start(engine, jwt_flags(jwks.display())).await;
    let token = |change: &dyn Fn(&mut Value)| issuer.token("*", READ, change);
    let claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "s", "exp": now() + 60, "tenants": "*",
        "scope": READ,
    });
    let header = |header: Value| issuer.sign(&header, &claims);
    for fine in [
        token(&|_| {}),
        token(&|claims| claims["aud"] = json!(["x", AUDIENCE])),
        token(&|claims| claims["exp"] = json!(now() - 5)),
        token(&|claims| claims["nbf"] = json!(now() + 5)),
        token(&|claims| claims["scope"] = json!([READ, "mail"])),
        header(json!({"alg": "ES256"})),
    ] {
        assert_eq!(told(&server, &fine).await, "Ok", "{fine}");
    }
    let mut forged = token(&|_| {});
    let [head, _, signature] = forged.split('.').collect::<Vec<_>>()[..] else {
        panic!("a token has three parts");
    };
    let other = URL_SAFE_NO_PAD.encode(claims.to_string());
    forged = format!("{head}.{other}.{signature}");
    let unsigned = header(json!({"alg": "none"}));
    let unsigned_at_all = format!("{}.", unsigned.rsplit_once('.').unwrap().0);
    for odd in [
        token(&|claims| claims["iss"] = json!("https://evil.example")),
        token(&|claims| claims["iss"] = json!([ISSUER])),
        token(&|claims| claims["aud"] = json!("another")),
        token(&|claims| claims["exp"] = json!(now() - 60)),
        token(&|claims| claims["exp"] = json!("soon")),
        token(&|claims| claims["nbf"] = json!(now() + 60)),
        token(&|claims| claims["tenants"] = json!(["?"])),
        token(&|claims| drop(claims.as_object_mut().unwrap().remove("exp"))),
        token(&|claims| drop(claims.as_object_mut().unwrap().remove("aud"))),
        token(&|claims| drop(claims.as_object_mut().unwrap().remove("iss"))),
        token(&|claims| drop(claims.as_object_mut().unwrap().remove("sub"))),
        unlisted.token("*", READ, |_| {}),
        forged,
        unsigned,
        unsigned_at_all,
        // The public key, used as the shared secret of HS256.
        header(json!({"alg": "HS256", "kid": "k1"})),
        header(json!({"alg": "ES384", "kid": "k1"})),
        header(json!({"alg": "RS256", "kid": "k1"})),
        header(json!({"alg": "ES256", "kid": "k1", "crit": ["b64"], "b64": false})),
        "a.b.c".into(),
        "no token".into(),
        // An API key, which is not an enabled authentication method.
        endcap::domain::key::generate().0,
    ] {
        assert_eq!(told(&server, &odd).await, REFUSED, "{odd}");
    }
    // It is valid, but grants nothing.
    for (change, expected) in [
        (
            Box::new(|claims: &mut Value| claims["scope"] = json!("mail"))
                as Box<dyn Fn(&mut Value)>,
            "PermissionDenied SCOPE_MISSING",
        ),
        (Box::new(|claims| claims["tenants"] = json!(null)), "Ok"),
    ] {
        assert_eq!(told(&server, &token(&*change)).await, expected);
    }
}

/// The first code block of a page in this language.
fn block(page: &str, language: &str) -> String {
    let (_, rest) = page.split_once(&format!("```{language}\n")).unwrap();
    rest.split("```").next().unwrap().to_owned()
}

/// Settings and claims are those in the guide for the issuer.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn the_tokens_in_the_keycloak_and_auth0_guides_are_accepted(
    #[values(Sqlite, Postgres)] engine: Engine,
    #[values("keycloak", "auth0")] page: &str,
) {
    let page = format!("{}/docs/how-to/{page}.md", env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(page).unwrap();
    let settings: toml::Table = block(&page, "toml").parse().unwrap();
    let setting = |name: &str| {
        let value = settings.get(name)?;
        let first = value.as_array().map_or(value, |list| &list[0]);
        Some(first.as_str().unwrap().to_owned())
    };
    let folder = tempfile::tempdir().unwrap();
    let jwks = folder.path().join("jwks");
    let issuer = Issuer::new("k1");
    write_jwks(&jwks, &[&issuer]);
    let flags = Flags {
        jwt_issuer: setting("jwt_issuer"),
        jwt_audience: setting("jwt_audience"),
        jwt_tenants_claim: setting("jwt_tenants_claim"),
        ..jwt_flags(jwks.display())
    };
    let server = Server::start(engine, flags).await;
    let mut claims: Value = serde_json::from_str(&block(&page, "json")).unwrap();
    claims["exp"] = json!(now() + 60);
    let token = issuer.sign(&json!({"alg": "ES256", "typ": "JWT", "kid": "k1"}), &claims);
    for (tenant, expected) in [("shop", "Ok"), ("other", "PermissionDenied TENANT_DENIED")] {
        let request = pb::CreateCollectionRequest {
            tenant_id: tenant.into(),
            collection: Some(named("summer", "Summer")),
            ..Default::default()
        };
        let outcome = grpc(&server, "CreateCollection", Some(&token), frame(&request)).await;
        assert_eq!(outcome.told, expected);
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn claim_names_leeway_and_algorithms_are_configurable(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let folder = tempfile::tempdir().unwrap();
    let jwks = folder.path().join("jwks");
    let issuer = Issuer::new("k1");
    write_jwks(&jwks, &[&issuer]);
    let flags = Flags {
        jwt_tenants_claim: Some("https://endcap.example/tenant".into()),
        jwt_scopes_claim: Some("permissions".into()),
        jwt_leeway: Some("10m".into()),
        ..jwt_flags(jwks.display())
    };
    let token = issuer.token("", "", |claims| {
        claims["https://endcap.example/tenant"] = json!("shop");
        claims["permissions"] = json!(["collections.read"]);
        claims["exp"] = json!(now() - 300);
    });
    let server = Server::start(engine, flags.clone()).await;
    assert_eq!(told(&server, &token).await, "Ok");
    assert_eq!(
        told(&server, &issuer.token("shop", READ, |_| {})).await,
        "PermissionDenied SCOPE_MISSING"
    );
    let flags = Flags {
        jwt_algorithms: Some("RS256".into()),
        ..flags
    };
    let server = Server::start(engine, flags).await;
    assert_eq!(told(&server, &token).await, REFUSED);
}

/// An issuer's key set, served over HTTP, which the test can change or break.
#[derive(Clone, Default)]
struct Published {
    keys: Arc<Mutex<Option<Value>>>,
    fetched: Arc<AtomicUsize>,
}

impl Published {
    /// Serves the key set, and returns its URL.
    async fn serve(&self) -> String {
        let this = self.clone();
        let app = Router::new().route(
            "/keys",
            get(async move || {
                this.fetched.fetch_add(1, Ordering::SeqCst);
                let keys = this.keys.lock().unwrap().clone();
                keys.map(|keys| keys.to_string())
                    .ok_or(StatusCode::SERVICE_UNAVAILABLE)
            }),
        );
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap())
            .await
            .unwrap();
        let url = format!("http://{}/keys", listener.address);
        let (never, stop) = watch::channel(false);
        tokio::spawn(async move {
            let config = endcap::app::config(&Flags::default(), None).unwrap();
            let connections = http::Connections::new(config.listen.connections);
            http::serve(listener, app, connections, stop).await;
            drop(never);
        });
        url
    }

    fn publish(&self, issuers: &[&Issuer]) {
        let keys: Vec<_> = issuers.iter().map(|issuer| issuer.jwk()).collect();
        *self.keys.lock().unwrap() = Some(json!({ "keys": keys }));
    }

    fn fail(&self) {
        *self.keys.lock().unwrap() = None;
    }

    fn fetched(&self) -> usize {
        self.fetched.load(Ordering::SeqCst)
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn unknown_keys_are_fetched_at_most_once_per_refetch_interval(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let published = Published::default();
    let [first, second] = ["k1", "k2"].map(Issuer::new);
    let flags = Flags {
        jwt_refetch_interval: Some("1h".into()),
        ..jwt_flags(published.serve().await)
    };
    let server = Server::start(engine, flags).await;
    let before = published.fetched();
    published.publish(&[&first]);
    let [known, unknown] = [&first, &second].map(|issuer| issuer.token("*", READ, |_| {}));
    assert_eq!(told(&server, &known).await, "Ok");
    assert_eq!(published.fetched(), before + 1);
    published.publish(&[&first, &second]);
    for _ in 0..5 {
        assert_eq!(told(&server, &unknown).await, REFUSED);
        assert_eq!(told(&server, &known).await, "Ok");
    }
    assert_eq!(published.fetched(), before + 1);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn keys_are_replaced_and_cached_ones_are_used_while_fetching_fails(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let published = Published::default();
    let [first, second] = ["k1", "k2"].map(Issuer::new);
    let flags = Flags {
        jwt_refresh: Some("1ms".into()),
        jwt_refetch_interval: Some("1ms".into()),
        ..jwt_flags(published.serve().await)
    };
    let server = Server::start(engine, flags).await;
    published.publish(&[&first]);
    let [old, new] = [&first, &second].map(|issuer| issuer.token("*", READ, |_| {}));
    assert_eq!(told(&server, &old).await, "Ok");
    published.fail();
    let before = published.fetched();
    let deadline = Instant::now() + Duration::from_secs(30);
    while published.fetched() < before + 3 {
        assert_eq!(told(&server, &old).await, "Ok");
        assert!(Instant::now() < deadline, "keys are not fetched again");
    }
    published.publish(&[&second]);
    // Without delay: a token with an unknown key triggers a fetch.
    let deadline = Instant::now() + Duration::from_secs(30);
    while told(&server, &new).await != "Ok" {
        assert!(Instant::now() < deadline, "the new key is not accepted");
    }
    while told(&server, &old).await != REFUSED {
        assert!(Instant::now() < deadline, "the old key is still accepted");
    }
}

/// Writes with an idempotency key, so that the response is stored under the caller's subject.
async fn write(server: &Server, token: &str, id: &str) -> String {
    let request = pb::CreateCollectionRequest {
        tenant_id: "default".into(),
        collection: Some(named(id, id)),
        request_id: "r".into(),
        ..Default::default()
    };
    grpc(server, "CreateCollection", Some(token), frame(&request))
        .await
        .told
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn long_or_unprintable_subjects_are_rejected(#[values(Sqlite, Postgres)] engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let jwks = folder.path().join("jwks");
    let issuer = Issuer::new("k1");
    write_jwks(&jwks, &[&issuer]);
    let server = Server::start(engine, jwt_flags(jwks.display())).await;
    let of = |sub: &str| {
        let scopes = "collections.read collections.write";
        issuer.token("*", scopes, |claims| claims["sub"] = json!(sub))
    };
    // The longest subject, of incompressible characters of four bytes.
    let any = |n: u32| char::from_u32(0x2_0000 + n * 7_919 % 40_000).unwrap();
    let longest: String = (0..255).map(any).collect();
    for (n, fine) in ["a", "auth0|65d7 13", "Zoë", &longest].iter().enumerate() {
        let told = write(&server, &of(fine), &format!("c{n}")).await;
        assert_eq!(told, "Ok", "{fine}");
    }
    let long: String = (0..2_500).map(any).collect();
    for odd in [
        "",
        "   ",
        &"a".repeat(256),
        &long,
        "a\0b",
        "a\nb",
        "a\u{1b}[2J",
        "a\u{202e}b",
    ] {
        assert_eq!(write(&server, &of(odd), "odd").await, REFUSED, "{odd:?}");
        assert_eq!(told(&server, &of(odd)).await, REFUSED, "{odd:?}");
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn very_large_claims_are_accepted(#[values(Sqlite, Postgres)] engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let jwks = folder.path().join("jwks");
    let issuer = Issuer::new("k1");
    write_jwks(&jwks, &[&issuer]);
    let server = Server::start(engine, jwt_flags(jwks.display())).await;
    let mut tenants: Vec<_> = (0..2_000).map(|n| format!("t{n}")).collect();
    tenants.push("default".into());
    let scopes: Vec<_> = (0..500).map(|n| format!("s{n}")).collect();
    let scopes = format!("{} collections.read collections.write", scopes.join(" "));
    let large = issuer.token("", &scopes, |claims| claims["tenants"] = json!(tenants));
    assert!(large.len() > 20_000, "{}", large.len());
    assert_eq!(write(&server, &large, "c").await, "Ok");
    let odd = "x ".repeat(10_000);
    let odd = issuer.token("", READ, |claims| claims["tenants"] = json!([odd]));
    assert_eq!(told(&server, &odd).await, REFUSED);
}
