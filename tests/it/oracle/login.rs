//! Login, the first request of Oracle's clients.

use endcap::config::Flags;
use endcap::store::Engine::{self, Postgres, Sqlite};
use reqwest::{Method, RequestBuilder};
use rstest::rstest;
use serde_json::{Value, json};

use super::{Admin, assert_error, send};
use crate::{
    auth::{endcap, new_key},
    harness::Server,
};

const FORM: &str = "grant_type=client_credentials";

fn log_in(admin: &Admin<'_>, key: &str) -> RequestBuilder {
    let request = admin.request(Method::POST, "login").bearer_auth(key);
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    request.body(FORM)
}

fn ask(admin: &Admin<'_>, method: Method, path: &str, token: &str) -> RequestBuilder {
    admin.request(method, path).bearer_auth(token)
}

async fn token(request: RequestBuilder) -> String {
    let (status, body) = send(request).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["token_type"], "bearer");
    assert_eq!(body["expires_in"], 300);
    body["access_token"].as_str().unwrap().into()
}

#[rstest]
#[tokio::test]
async fn a_key_is_exchanged_for_tokens_that_logout_revokes(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let flags = Flags {
        auth: Some("keys".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let admin = Admin(&server);
    let scopes = ["collections.read", "collections.write"];
    let key = new_key(&server, "shop", &scopes, &[]);
    let first = token(log_in(&admin, &key)).await;
    assert_ne!(first, key);
    let root = |token: &str| ask(&admin, Method::GET, "collections/rootCategory", token);
    assert_eq!(send(root(&first)).await.0, 200);
    // A token has the rights of its key in any protocol.
    let location = format!("{}/products/collections", server.http);
    let other = server.client.get(location).bearer_auth(&first);
    let other = other.header("version", "2021-07-28");
    let query = |location| [("altId", location), ("altType", "location")];
    let own = other.try_clone().unwrap().query(&query("shop"));
    assert_eq!(send(own).await.0, 200);
    assert_eq!(send(other.query(&query("mall"))).await.0, 403);

    let second = token(ask(&admin, Method::POST, "refresh", &first)).await;
    assert_ne!(second, first);
    let verify = |token: &str| ask(&admin, Method::POST, "verify", token);
    for token in [&first, &second] {
        assert_eq!(send(verify(token)).await, (200, json!({"success": true})));
    }
    let other = token(log_in(&admin, &key)).await;
    let log_out = send(ask(&admin, Method::POST, "logout", &first)).await;
    assert_eq!(log_out, (200, json!({"result": true})));
    // Refreshed tokens belong to the same login.
    for ended in [&first, &second] {
        assert_error(&send(verify(ended)).await, 401, "401", "");
        assert_error(&send(root(ended)).await, 401, "401", "");
        let renewed = send(ask(&admin, Method::POST, "refresh", ended)).await;
        assert_error(&renewed, 401, "401", "");
    }
    assert_eq!(send(verify(&other)).await.0, 200);
    // A key is not a login, and stays valid.
    let log_out = send(ask(&admin, Method::POST, "logout", &key)).await;
    assert_eq!(log_out, (200, json!({"result": false})));
    assert_eq!(send(verify(&key)).await.0, 200);
}

#[rstest]
#[tokio::test]
async fn revoking_a_key_revokes_its_tokens(#[values(Sqlite, Postgres)] engine: Engine) {
    let flags = Flags {
        auth: Some("keys".into()),
        key_cache_time: Some("1ms".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let admin = Admin(&server);
    let key = new_key(&server, "shop", &["collections.read"], &[]);
    let token = token(log_in(&admin, &key)).await;
    let verify = || send(ask(&admin, Method::POST, "verify", &token));
    assert_eq!(verify().await.0, 200);
    let id = key.split('_').nth(1).unwrap();
    endcap(&server, &["key", "revoke", id]);
    assert_error(&verify().await, 401, "401", "");
    assert_error(&send(log_in(&admin, &key)).await, 401, "401", "");
}

#[tokio::test]
async fn servers_with_the_same_secret_accept_each_others_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "0123456789abcdef0123456789abcdef\n").unwrap();
    let flags = |file: Option<&std::path::Path>| Flags {
        auth: Some("keys".into()),
        token_secret_file: file.map(|file| file.display().to_string()),
        ..Flags::default()
    };
    let database = crate::postgres::new_database().await;
    let start = async |file| Server::start_at(Some(database.clone()), flags(file)).await;
    let (a, b) = (start(Some(&secret)).await, start(Some(&secret)).await);
    let alone = start(None).await;
    let key = new_key(&a, "shop", &["collections.read"], &[]);
    let token = token(log_in(&Admin(&a), &key)).await;
    for (server, expected) in [(&a, 200), (&b, 200), (&alone, 401)] {
        let verify = ask(&Admin(server), Method::POST, "verify", &token);
        assert_eq!(send(verify).await.0, expected);
    }
}

#[rstest]
#[tokio::test]
async fn the_grant_type_is_read_from_the_form_or_the_query(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let flags = Flags {
        auth: Some("keys".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let admin = Admin(&server);
    let key = new_key(&server, "shop", &["collections.read"], &[]);
    let form = "application/x-www-form-urlencoded";
    let query = format!("?{FORM}");
    for path in ["login", "login/", "mfalogin", "mfalogin/"] {
        let with = |query: &str, kind: Option<&str>, body: &'static str| {
            let request = admin.request(Method::POST, &format!("{path}{query}"));
            let request = request.bearer_auth(&key).body(body);
            match kind {
                Some(kind) => request.header("content-type", kind),
                None => request,
            }
        };
        for request in [
            with("", Some(form), FORM),
            with(
                "",
                Some("Application/X-WWW-Form-Urlencoded; charset=UTF-8"),
                FORM,
            ),
            with("", None, FORM),
            with(&query, None, ""),
            with(&query, Some(form), ""),
            with(&query, Some(form), FORM),
            with(&query, Some(form), "a=b&"),
            with(&query, Some("application/json"), "{}"),
        ] {
            let token = token(request).await;
            let root = ask(&admin, Method::GET, "collections/rootCategory", &token);
            assert_eq!(send(root).await.0, 200);
        }
        for request in [
            with("", Some(form), ""),
            with(
                "",
                Some(form),
                "grant_type=password&username=a&password=b&totp_code=1",
            ),
            with("?grant_type=password", None, ""),
            with(&query, Some(form), "grant_type=password"),
            with("?grant_type=password", Some(form), FORM),
            with(
                "",
                Some("application/json"),
                r#"{"grant_type": "client_credentials"}"#,
            ),
        ] {
            assert_error(&send(request).await, 400, "400", "client_credentials");
        }
        let broken = with(&query, Some(form), r#"{"grant_type": "x"}"#);
        assert_error(&send(broken).await, 400, "400", "not a form");
    }
}

#[rstest]
#[tokio::test]
async fn invalid_logins_are_rejected(#[values(Sqlite, Postgres)] engine: Engine) {
    let flags = Flags {
        auth: Some("keys".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let admin = Admin(&server);
    let key = new_key(&server, "shop", &["collections.read"], &[]);
    let last = if key.ends_with('0') { "1" } else { "0" };
    let wrong = format!("{}{last}", &key[..key.len() - 1]);
    for key in [wrong.as_str(), "eyJ.eyJ.x", "endcaptoken.a.1.b.c"] {
        let refused = send(log_in(&admin, key)).await;
        assert_error(&refused, 401, "401", "");
    }
    let response = log_in(&admin, "x").send().await.unwrap();
    assert_eq!(response.headers()["www-authenticate"], "Bearer");
    let bare = admin.request(Method::POST, "login").body(FORM);
    assert_error(&send(bare).await, 401, "401", "");
    for body in ["", "grant_type=password", "{}"] {
        let request = admin.request(Method::POST, "login").bearer_auth(&key);
        let refused = send(request.body(body)).await;
        assert_error(&refused, 400, "400", "client_credentials");
    }
    let get = send(admin.request(Method::GET, "login")).await;
    assert_error(&get, 405, "405", "GET");
}

#[rstest]
#[tokio::test]
async fn any_login_succeeds_when_authentication_is_disabled(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    let token = token(log_in(&admin, "whatever")).await;
    let root = ask(&admin, Method::GET, "collections/rootCategory", &token);
    let (status, body) = send(root).await;
    assert_eq!((status, &body["id"]), (200, &json!("rootCategory")));
    for (path, body) in [
        ("verify", json!({"success": true})),
        ("logout", json!({"result": true})),
    ] {
        let response = send(ask(&admin, Method::POST, path, &token)).await;
        assert_eq!(response, (200, body));
    }
    let ui = format!("{}/ccadminui/v1/login/", server.http);
    let response = server.client.post(ui).body(FORM).send().await.unwrap();
    assert_eq!(response.headers()["cache-control"], "no-store");
    let body: Value = response.json().await.unwrap();
    assert!(body["access_token"].is_string(), "{body}");
}
