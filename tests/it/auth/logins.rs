//! Logins: the lifetime of their tokens, their validity on replicas, and who can issue them.

use std::time::{Duration, Instant};

use endcap::store::Engine::{self, Postgres, Sqlite};
use endcap::{
    config::Flags,
    domain::{ApiKey, Caller, Scope, TenantId, Tenants, key},
    store::{
        DatabasePlace, Store,
        secrets::{self, Secret},
    },
};
use futures::future::join_all;
use reqwest::Method;
use rstest::rstest;
use sea_orm::{ConnectionTrait as _, Statement};
use serde_json::{Value, json};

use super::{endcap, new_key};
use crate::{
    harness::Server,
    oracle::{Admin, send},
    postgres,
};

fn flags() -> Flags {
    Flags {
        auth: Some("keys".into()),
        key_cache_time: Some("50ms".into()),
        reload_interval: Some("1ms".into()),
        ..Flags::default()
    }
}

/// Posts to one of the login paths.
async fn post(server: &Server, path: &str, bearer: &str) -> (u16, Value) {
    let request = Admin(server).request(Method::POST, path);
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let request = request.body("grant_type=client_credentials");
    send(request.bearer_auth(bearer)).await
}

/// The token of a new login, or a refreshed one.
async fn token(server: &Server, path: &str, bearer: &str) -> String {
    let (status, body) = post(server, path, bearer).await;
    assert_eq!(status, 200, "{body}");
    body["access_token"].as_str().unwrap().into()
}

async fn status(server: &Server, bearer: &str) -> u16 {
    post(server, "verify", bearer).await.0
}

/// Waits until requests with this token get the expected status.
async fn until(server: &Server, bearer: &str, expected: u16) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let got = status(server, bearer).await;
        if got == expected {
            return;
        }
        assert!(Instant::now() < deadline, "{got}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Executes SQL on a new connection.
async fn execute(server: &Server, sql: &str) {
    let db = sea_orm::Database::connect(&server.database).await.unwrap();
    db.execute_unprepared(sql).await.unwrap();
    db.close().await.unwrap();
}

/// The texts that an SQL query returns on a new connection.
async fn select(server: &Server, sql: &str) -> Vec<String> {
    let db = sea_orm::Database::connect(&server.database).await.unwrap();
    let statement = Statement::from_string(db.get_database_backend(), sql);
    let rows = db.query_all_raw(statement).await.unwrap();
    db.close().await.unwrap();
    let texts = rows.iter().map(|row| row.try_get_by_index(0).unwrap());
    texts.collect()
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn rotating_the_secret_of_a_key_revokes_its_logins(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.toml");
    let (first, id) = key::generate();
    // The same key id with another secret, as a key file could have it.
    let (other, other_id) = key::generate();
    let second = other.replace(&other_id, &id);
    let line = |text: &str| {
        endcap::auth::to_toml(&ApiKey {
            id: id.clone(),
            label: String::new(),
            hash: key::hash(text),
            tenants: Tenants::All,
            scopes: [Scope::Admin].into(),
            expire_time: None,
        })
    };
    let flags = Flags {
        keys_file: Some(path.display().to_string()),
        ..flags()
    };
    std::fs::write(&path, line(&first)).unwrap();
    let server = Server::start(engine, flags).await;
    until(&server, &first, 200).await;
    let of_file = token(&server, "login", &first).await;
    let renewed = token(&server, "refresh", &of_file).await;
    std::fs::write(&path, line(&second)).unwrap();
    until(&server, &second, 200).await;
    for token in [&first, &of_file, &renewed] {
        assert_eq!(status(&server, token).await, 401);
        assert_eq!(post(&server, "refresh", token).await.0, 401);
    }
    let again = token(&server, "login", &second).await;
    assert_eq!(status(&server, &again).await, 200);
    // Restores the file for the server on the next database.
    std::fs::write(&path, line(&first)).unwrap();

    let key = new_key(&server, "shop", &["admin"], &[]);
    let of_database = token(&server, "login", &key).await;
    assert_eq!(status(&server, &of_database).await, 200);
    let (hash, id) = (key::hash(&second), key::id(&key).unwrap());
    let rotate = format!("UPDATE api_keys SET hash = '{hash}' WHERE key_id = '{id}'");
    execute(&server, &rotate).await;
    until(&server, &of_database, 401).await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_login_expires_at_its_maximum_lifetime_despite_refreshes(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let flags = Flags {
        token_lifetime: Some("1h".into()),
        login_max_lifetime: Some("3s".into()),
        ..flags()
    };
    let server = Server::start(engine, flags).await;
    let key = new_key(&server, "shop", &["admin"], &[]);
    let begun = Instant::now();
    let (_, first) = post(&server, "login", &key).await;
    assert_eq!(first["expires_in"], 3, "{first}");
    let mut token = first["access_token"].as_str().unwrap().to_owned();
    let mut renewals = 0;
    loop {
        let (status, body) = post(&server, "refresh", &token).await;
        if status == 401 {
            break;
        }
        assert_eq!(status, 200, "{body}");
        assert!(body["expires_in"].as_u64().unwrap() <= 3, "{body}");
        token = body["access_token"].as_str().unwrap().into();
        renewals += 1;
        assert!(begun.elapsed() < Duration::from_secs(30), "{renewals}");
    }
    assert!(renewals > 0);
    assert!(begun.elapsed() > Duration::from_secs(1));
    assert_eq!(status(&server, &token).await, 401);
    let again = self::token(&server, "login", &key).await;
    assert_eq!(status(&server, &again).await, 200);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn expires_in_of_a_token_does_not_exceed_its_key_s_lifetime(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::start(engine, flags()).await;
    let key = new_key(&server, "shop", &["admin"], &["--expires-in", "100s"]);
    let (_, first) = post(&server, "login", &key).await;
    let second = token(&server, "login", &key).await;
    let (_, renewed) = post(&server, "refresh", &second).await;
    for body in [first, renewed] {
        let lifetime = body["expires_in"].as_u64().unwrap();
        assert!((1..=100).contains(&lifetime), "{body}");
    }
}

/// Servers on one PostgreSQL database, started at the same time.
async fn replicas<const N: usize>(flags: &Flags) -> [Server; N] {
    let database = postgres::new_database().await;
    // Only one server migrates the database.
    drop(Server::start_at(Some(database.clone()), flags.clone()).await);
    let start = || Server::start_at(Some(database.clone()), flags.clone());
    let servers = join_all((0..N).map(|_| start())).await;
    servers.try_into().ok().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_without_a_secret_file_accept_each_other_s_tokens() {
    let servers: [Server; 3] = replicas(&flags()).await;
    let key = new_key(&servers[0], "shop", &["admin"], &[]);
    let first = join_all(servers.iter().map(|server| token(server, "login", &key))).await;
    for server in &servers {
        for token in &first {
            assert_eq!(status(server, token).await, 200);
        }
    }
    let renewed = token(&servers[1], "refresh", &first[0]).await;
    assert_eq!(status(&servers[2], &renewed).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_revokes_all_tokens_of_its_login_on_every_replica() {
    let [a, b]: [Server; 2] = replicas(&flags()).await;
    let key = new_key(&a, "shop", &["admin"], &[]);
    let first = token(&a, "login", &key).await;
    let renewed = token(&b, "refresh", &first).await;
    let twice_renewed = token(&b, "refresh", &renewed).await;
    let other = token(&b, "login", &key).await;
    let family = [&first, &renewed, &twice_renewed];
    for server in [&a, &b] {
        for token in family.into_iter().chain([&other]) {
            assert_eq!(status(server, token).await, 200);
        }
    }
    let log_out = post(&a, "logout", &renewed).await;
    assert_eq!(log_out, (200, json!({"result": true})));
    for token in family {
        assert_eq!(status(&a, token).await, 401);
        until(&b, token, 401).await;
        assert_eq!(post(&b, "refresh", token).await.0, 401);
    }
    for server in [&a, &b] {
        assert_eq!(status(server, &other).await, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_survive_one_rotation_of_the_secret_but_not_two() {
    let database = postgres::new_database().await;
    let start = async || Server::start_at(Some(database.clone()), flags()).await;
    let a = start().await;
    let key = new_key(&a, "shop", &["admin"], &[]);
    let old = token(&a, "login", &key).await;
    assert_eq!(endcap(&a, &["secret", "rotate"]), "secrets rotated: 2\n");
    let b = start().await;
    let new = token(&b, "login", &key).await;
    assert_eq!(status(&b, &old).await, 200);
    // The other server learns of the rotation from the token.
    until(&a, &new, 200).await;
    assert_eq!(status(&a, &old).await, 200);

    endcap(&a, &["secret", "rotate"]);
    let c = start().await;
    assert_eq!(status(&c, &new).await, 200);
    assert_eq!(status(&c, &old).await, 401);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_token_cannot_be_forged_from_the_contents_of_the_database(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::start(engine, flags()).await;
    let key = new_key(&server, "shop", &["admin"], &[]);
    let token = token(&server, "login", &key).await;
    let parts: Vec<_> = token.split('.').collect();
    let [prefix, login, secret, end, nonce, _] = parts[..] else {
        panic!("{token}");
    };
    let signing = select(&server, "SELECT current FROM secrets WHERE name = 'logins'").await;
    let signing = Secret::new(signing[0].as_bytes(), None);
    let sign = |login: &str, secret: &str, end: u64| {
        let message = format!("{login}.{secret}.{end}.{nonce}");
        let signature = signing.sign(message.as_bytes());
        format!("{prefix}.{message}.{signature}")
    };
    let end: u64 = end.parse().unwrap();
    // The format is correct: with the login's secret as well, tokens can be issued.
    assert_eq!(status(&server, &sign(login, secret, end + 1)).await, 200);
    let stored = select(&server, "SELECT secret_hash FROM logins").await;
    for odd in [
        sign(login, &stored[0], end),
        sign(login, "", end),
        sign(&"0".repeat(32), secret, end),
        sign(key::id(&key).unwrap(), &key::hash(&key), end),
        // A token's holder can't extend it.
        token.replace(&end.to_string(), &(end + 1).to_string()),
    ] {
        assert_eq!(status(&server, &odd).await, 401, "{odd}");
    }
    assert_eq!(status(&server, &token).await, 200);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn logins_per_key_are_limited_and_the_oldest_are_revoked(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let flags = Flags {
        max_logins_per_key: Some("2".into()),
        ..flags()
    };
    let server = Server::start(engine, flags).await;
    let before = server.refused("max_logins_per_key").await;
    let [key, other] = [(); 2].map(|()| new_key(&server, "shop", &["admin"], &[]));
    let others = token(&server, "login", &other).await;
    let mut tokens = Vec::new();
    for _ in 0..4 {
        tokens.push(token(&server, "login", &key).await);
    }
    for (token, expected) in tokens.iter().zip([401, 401, 200, 200]) {
        assert_eq!(status(&server, token).await, expected);
    }
    assert_eq!(status(&server, &others).await, 200);
    assert!(server.refused("max_logins_per_key").await >= before + 2);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_login_counts_towards_its_caller_s_rate_limit(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let flags = Flags {
        rate_per_caller: Some("3/1h".into()),
        ..flags()
    };
    let server = Server::start(engine, flags).await;
    let key = new_key(&server, "shop", &["collections.read"], &[]);
    let first = token(&server, "login", &key).await;
    // Each request counts once, whether its path is open or not.
    let second = token(&server, "login", &first).await;
    token(&server, "refresh", &second).await;
    for (path, bearer) in [("login", &key), ("login", &first), ("refresh", &first)] {
        assert_eq!(post(&server, path, bearer).await.0, 429, "{path}");
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn expired_logins_are_swept(#[values(Sqlite, Postgres)] engine: Engine) {
    let flags = Flags {
        login_max_lifetime: Some("1s".into()),
        sweep_interval: Some("50ms".into()),
        ..flags()
    };
    let server = Server::start(engine, flags).await;
    let key = new_key(&server, "shop", &["admin"], &[]);
    token(&server, "login", &key).await;
    let deadline = Instant::now() + Duration::from_secs(60);
    while !select(&server, "SELECT login_id FROM logins")
        .await
        .is_empty()
    {
        assert!(Instant::now() < deadline, "the login is not swept");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_stores_get_the_same_secret_and_its_rotation(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::start(engine, flags()).await;
    let mut database = endcap::app::config(&Flags::default(), None)
        .unwrap()
        .database;
    database.place = match server.database.strip_prefix("sqlite://") {
        Some(path) => DatabasePlace::File(path.into()),
        None => DatabasePlace::Url(server.database.clone()),
    };
    let stores = join_all((0..8).map(|_| Store::connect(&database))).await;
    let stores: Vec<_> = stores.into_iter().map(Result::unwrap).collect();
    let read = || join_all(stores.iter().map(|store| secrets::read(store, "test")));
    let secrets: Vec<_> = read().await.into_iter().map(Result::unwrap).collect();
    let signature = secrets[0].sign(b"x");
    assert!(secrets.iter().all(|secret| secret.sign(b"x") == signature));

    let operator = Caller::operator(TenantId::trusted("default"));
    let proof = operator.administering().unwrap();
    secrets::rotate(&stores[0], &proof).await.unwrap();
    for rotated in read().await {
        let rotated = rotated.unwrap();
        assert_ne!(rotated.sign(b"x"), signature);
        assert!(rotated.verify(b"x", &signature));
    }
}
