//! An issuer of JWTs, with its key set in a file.

use std::{fs, path::Path, time::SystemTime};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use serde_json::{Value, json};

const KEY_SET: &str = "jwks.json";
const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "endcap";

/// Writes a key set into the folder. Returns the flags of a server that accepts its tokens, and a
/// token that is valid for all tenants for an hour.
pub(crate) fn issue(folder: &Path) -> (Vec<String>, String) {
    let random = SystemRandom::new();
    let document = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
    let public = BASE64_URL_SAFE_NO_PAD.encode(pair.public_key());
    let key = json!({"kty": "OKP", "crv": "Ed25519", "kid": "bench", "x": public});
    let file = folder.join(KEY_SET);
    fs::write(&file, json!({"keys": [key]}).to_string()).unwrap();

    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "bench", "exp": now.unwrap().as_secs() + 3_600,
        "tenants": "*", "scope": "collections.read collections.write admin",
    });
    let encode = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let header = json!({"alg": "EdDSA", "typ": "JWT", "kid": "bench"});
    let message = format!("{}.{}", encode(&header), encode(&claims));
    let signature = BASE64_URL_SAFE_NO_PAD.encode(pair.sign(message.as_bytes()));

    let file = file.to_str().unwrap();
    let flags = ["--auth", "keys,jwt", "--jwt-issuer", ISSUER];
    let flags = flags.into_iter();
    let flags = flags.chain(["--jwt-audience", AUDIENCE, "--jwt-jwks", file]);
    let token = format!("{message}.{signature}");
    (flags.map(str::to_owned).collect(), token)
}
