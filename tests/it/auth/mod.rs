//! Authentication and authorization, through the real API.

mod edge;
mod jwt;
mod keys;
pub(crate) mod log;
mod logins;
mod matrix;
mod tenants;
pub(crate) mod tls;
mod unknown;

use std::{path::Path, process::Command};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::{BufMut as _, Bytes, BytesMut};
use endcap::{
    auth::to_toml,
    config::Flags,
    domain::{ApiKey, Scope, Tenants, Timestamp, key},
    grpc::DESCRIPTORS,
};
use http::HeaderMap;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost_reflect::DynamicMessage;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::{
    collections::reason,
    harness::Server,
    json::{self, client::bindings},
};

pub(crate) const ISSUER: &str = "https://id.example";
pub(crate) const AUDIENCE: &str = "endcap";

/// A gRPC frame: the compression flag, the length and the message.
pub(crate) fn frame(message: &impl prost::Message) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.encoded_len()).unwrap());
    message.encode(&mut frame).unwrap();
    frame.freeze()
}

/// The outcome of a call: the code and the reason if it failed, or else the bytes of the message.
#[derive(Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) told: String,
    pub(crate) message: Bytes,
}

impl Outcome {
    fn of(status: Option<Status>, message: Bytes) -> Self {
        match status {
            Some(status) if status.code() != Code::Ok => Self {
                told: format!("{:?} {}", status.code(), reason(&status)),
                message: status.message().to_owned().into(),
            },
            Some(_) => Self {
                told: "Ok".into(),
                message,
            },
            None => panic!("the response has no status"),
        }
    }
}

/// The path of a method; the service can be omitted for `CollectionService`.
fn path(method: &str) -> String {
    if method.contains('/') {
        format!("endcap.v1.{method}")
    } else {
        format!("endcap.v1.CollectionService/{method}")
    }
}

/// Calls a method over gRPC, without a generated client that would check the request.
pub(crate) async fn grpc(
    server: &Server,
    method: &str,
    token: Option<&str>,
    body: Bytes,
) -> Outcome {
    let address = server.grpc.strip_prefix("http://").unwrap();
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let uri = format!("{}/{}", server.grpc, path(method));
    let mut request = http::Request::post(uri)
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(Full::new(body)).unwrap();
    let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap();
    let status = Status::from_header_map(&parts.headers);
    let status = status.or_else(|| Status::from_header_map(body.trailers()?));
    Outcome::of(status, body.to_bytes())
}

/// Calls a method over gRPC-Web.
pub(crate) async fn grpc_web(
    server: &Server,
    method: &str,
    token: Option<&str>,
    body: Bytes,
) -> Outcome {
    let url = format!("{}/{}", server.http, path(method));
    let mut request = server
        .client
        .post(url)
        .header("content-type", "application/grpc-web+proto")
        .body(body);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let response = request.send().await.unwrap();
    let status = Status::from_header_map(response.headers());
    let mut body = response.bytes().await.unwrap();
    if status.is_some() {
        return Outcome::of(status, Bytes::new());
    }
    let mut message = Bytes::new();
    while body.len() >= 5 {
        let length = u32::from_be_bytes(body[1..5].try_into().unwrap()) as usize;
        let part = body.split_to(5 + length);
        if part[0] & 0x80 == 0 {
            message = part;
            continue;
        }
        let trailers = String::from_utf8(part[5..].to_vec()).unwrap();
        let trailers: HeaderMap = trailers
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.parse().unwrap(), value.trim().parse().unwrap()))
            .collect();
        return Outcome::of(Status::from_header_map(&trailers), message);
    }
    Outcome::of(None, message)
}

/// Calls a method over JSON. The message of a response is its body.
pub(crate) async fn native_json(
    server: &Server,
    method: &str,
    token: Option<&str>,
    body: Bytes,
) -> Outcome {
    let path = path(method);
    let bindings = bindings(DESCRIPTORS);
    let binding = bindings.iter().find(|binding| {
        let service = binding.method.parent_service().full_name();
        path == format!("{service}/{}", binding.method.name())
    });
    let binding = binding.unwrap();
    let message = DynamicMessage::decode(binding.method.input(), body.slice(5..));
    let mut request = json::request(server, binding, &message.unwrap());
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let response = request.send().await.unwrap();
    let is_ok = response.status() == 200;
    let message = response.bytes().await.unwrap();
    if is_ok {
        let told = "Ok".to_owned();
        return Outcome { told, message };
    }
    let error: Value = serde_json::from_slice(&message).unwrap();
    let code = Code::from_i32(i32::try_from(error["code"].as_i64().unwrap()).unwrap());
    let details = error["details"].as_array().unwrap();
    let reason = details.iter().find_map(|detail| detail["reason"].as_str());
    Outcome {
        told: format!("{code:?} {}", reason.unwrap()),
        message: error["message"].as_str().unwrap().to_owned().into(),
    }
}

/// Runs `endcap` on the server's database, and returns its standard output.
pub(crate) fn endcap(server: &Server, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_endcap"))
        .env_clear()
        .args(&server.database_flag)
        .args(arguments)
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Creates a key in the server's database.
pub(crate) fn new_key(server: &Server, tenant: &str, scopes: &[&str], more: &[&str]) -> String {
    let mut arguments = vec!["key", "create", "--label", "test", "--tenant", tenant];
    for scope in scopes {
        arguments.extend(["--scope", scope]);
    }
    arguments.extend(more);
    endcap(server, &arguments).trim_end().to_owned()
}

/// A new key, and its entry for a key file.
pub(crate) fn file_key(
    tenant: &str,
    scopes: &[Scope],
    expire_time: Option<Timestamp>,
) -> (String, String) {
    let (text, id) = key::generate();
    let key = ApiKey {
        id,
        label: "test".into(),
        hash: key::hash(&text),
        tenants: Tenants::parse([tenant]).unwrap(),
        scopes: scopes.iter().copied().collect(),
        expire_time,
    };
    (text, to_toml(&key))
}

/// The Unix time in seconds.
pub(crate) fn now() -> i64 {
    Timestamp::now().micros() / 1_000_000
}

/// An issuer of JWTs, with a P-256 key.
pub(crate) struct Issuer {
    kid: String,
    pair: EcdsaKeyPair,
}

impl Issuer {
    pub(crate) fn new(kid: &str) -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
        Self {
            kid: kid.into(),
            pair,
        }
    }

    /// The public key as an entry of a key set.
    pub(crate) fn jwk(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        let (x, y) = point[1..].split_at(32);
        let [x, y] = [x, y].map(|part| URL_SAFE_NO_PAD.encode(part));
        json!({"kty": "EC", "crv": "P-256", "kid": self.kid, "x": x, "y": y})
    }

    /// A token with this header and these claims.
    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = self.pair.sign(&SystemRandom::new(), message.as_bytes());
        format!(
            "{message}.{}",
            URL_SAFE_NO_PAD.encode(signature.unwrap().as_ref())
        )
    }

    /// A valid token, except for what `change` does to its claims.
    pub(crate) fn token(
        &self,
        tenant: &str,
        scopes: &str,
        change: impl FnOnce(&mut Value),
    ) -> String {
        let mut claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": "someone", "exp": now() + 3_600,
            "tenants": [tenant], "scope": scopes,
        });
        change(&mut claims);
        let header = json!({"alg": "ES256", "typ": "JWT", "kid": self.kid});
        self.sign(&header, &claims)
    }
}

/// Writes a file with a key set.
pub(crate) fn write_jwks(path: &Path, issuers: &[&Issuer]) {
    let keys: Vec<_> = issuers.iter().map(|issuer| issuer.jwk()).collect();
    std::fs::write(path, json!({"keys": keys}).to_string()).unwrap();
}

/// Settings that accept tokens of the issuer with this key set.
pub(crate) fn jwt_flags(jwks: impl ToString) -> Flags {
    Flags {
        auth: Some("jwt".into()),
        jwt_issuer: Some(ISSUER.into()),
        jwt_audience: Some(AUDIENCE.into()),
        jwt_jwks: Some(jwks.to_string()),
        ..Flags::default()
    }
}
