//! Log entries about authentication: what they contain about credentials, but never a secret.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use endcap::domain::{Scope, key};
use serde_json::Value;

use super::file_key;
use crate::harness::http_client;

/// A running program, which is stopped when this is dropped.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The lines of the log so far.
pub(crate) fn lines(log: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(log).unwrap();
    let lines = text.lines().map(serde_json::from_str);
    lines.filter_map(Result::ok).collect()
}

/// The first matching line, once it is logged.
pub(crate) async fn line(log: &Path, is_it: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(line) = lines(log).into_iter().find(|line| is_it(line)) {
            return line;
        }
        assert!(Instant::now() < deadline, "{:?}", lines(log));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_log_has_the_reason_and_the_subject_but_no_credential() {
    let folder = tempfile::tempdir().unwrap();
    let [log, keys] = ["log", "keys"].map(|name| folder.path().join(name));
    let (good, entry) = file_key("*", &[Scope::Admin], None);
    let (bad, _) = key::generate();
    std::fs::write(&keys, entry).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_endcap"));
    command.env_clear().arg("--data-dir").arg(folder.path());
    for port in ["--grpc-addr", "--http-addr", "--admin-addr"] {
        command.args([port, "127.0.0.1:0"]);
    }
    command.args([
        "--auth",
        "keys",
        "--log",
        "info,endcap=trace",
        "--keys-file",
    ]);
    command.arg(&keys);
    command.stderr(Stdio::from(std::fs::File::create(&log).unwrap()));
    let running = Running(command.spawn().unwrap());

    let serving = line(&log, |line| line["message"] == "serving").await;
    let address = serving["http"].as_str().unwrap();
    let path = format!("http://{address}/ccadmin/v1/collections/rootCategory");
    let url = format!("{path}?_token={bad}");
    let client = http_client().build().unwrap();
    for (key, status) in [(&bad, 401), (&good, 200)] {
        let response = client.get(&url).bearer_auth(key).send().await.unwrap();
        assert_eq!(response.status(), status);
    }
    let refused = line(&log, |line| line["message"] == "authentication failed").await;
    let why = format!("unknown key {}", key::id(&bad).unwrap());
    assert_eq!(refused["why"], why.as_str(), "{refused}");
    assert!(refused["span"]["request_id"].is_string(), "{refused}");
    let who = format!("key:{}", key::id(&good).unwrap());
    line(&log, |line| line["subject"] == who.as_str()).await;
    drop(running);
    let text = std::fs::read_to_string(&log).unwrap();
    for key in [good, bad] {
        let secret = key.rsplit('_').next().unwrap();
        assert!(!text.contains(secret), "{text}");
    }
}
