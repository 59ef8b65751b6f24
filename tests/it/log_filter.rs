//! The log filter, shown and changed through the admin port.

use std::fs::File;

use reqwest::{Client, StatusCode};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    auth::log::{Running, line, lines},
    harness::http_client,
    program::endcap,
};

/// The program, with its log in a file.
struct Logged {
    folder: TempDir,
    client: Client,
    admin: String,
    http: String,
    _running: Running,
}

impl Logged {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut command = endcap(folder.path(), None);
        command.stderr(File::create(&log).unwrap());
        let running = Running(command.spawn().unwrap());
        let serving = line(&log, |line| line["message"] == "serving").await;
        let url = |port: &str| format!("http://{}", serving[port].as_str().unwrap());
        Self {
            client: http_client().build().unwrap(),
            admin: url("admin"),
            http: url("http"),
            _running: running,
            folder,
        }
    }

    fn log(&self) -> std::path::PathBuf {
        self.folder.path().join("log")
    }

    async fn filter(&self) -> String {
        let url = format!("{}/log", self.admin);
        let response = self.client.get(url).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        response.text().await.unwrap()
    }

    async fn set(&self, filter: impl Into<reqwest::Body>) -> (StatusCode, String) {
        let request = self.client.put(format!("{}/log", self.admin));
        let response = request.body(filter).send().await.unwrap();
        (response.status(), response.text().await.unwrap())
    }

    /// Sends a request with this id.
    async fn request(&self, id: &str) {
        let request = self.client.get(format!("{}/nothing", self.http));
        let response = request.header("x-request-id", id).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
    }
}

fn is_request(line: &Value, id: &str) -> bool {
    line["status"] == 404 && line["span"]["request_id"] == id
}

#[tokio::test]
async fn the_log_filter_is_changed_without_a_restart() {
    let logged = Logged::start().await;
    assert_eq!(logged.filter().await, "info,sqlx=warn\n");
    logged.request("before").await;
    line(&logged.log(), |line| is_request(line, "before")).await;

    let (status, response) = logged.set(" endcap::http=warn , error\n").await;
    assert_eq!(
        (status, &*response),
        (StatusCode::OK, "endcap::http=warn,error\n")
    );
    assert_eq!(logged.filter().await, "endcap::http=warn,error\n");
    let is_change = |line: &Value| line["to"] == "endcap::http=warn,error";
    let change = line(&logged.log(), is_change).await;
    assert_eq!(change["from"], "info,sqlx=warn", "{change}");
    // The line of a request is written, or not, before the next request is accepted.
    for id in ["between", "next"] {
        logged.request(id).await;
    }

    // The change itself is logged, whatever the two filters allow.
    for filter in ["off", "error", "info"] {
        assert_eq!(logged.set(filter).await.0, StatusCode::OK);
        line(&logged.log(), |line| line["to"] == filter).await;
    }
    logged.request("after").await;
    line(&logged.log(), |line| is_request(line, "after")).await;
    // Lines about requests are in the order of the requests, so that of `between` would be here.
    let lines = lines(&logged.log());
    assert!(!lines.iter().any(|line| is_request(line, "between")));
}

#[tokio::test]
async fn an_invalid_log_filter_is_refused_and_changes_nothing() {
    let logged = Logged::start().await;
    for odd in ["", "verbose", "info,endcap", "endcap=loud"] {
        let (status, response) = logged.set(odd).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{odd}");
        assert!(response.contains("must be a level"), "{odd}: {response}");
    }
    assert_eq!(logged.set(vec![0xff]).await.0, StatusCode::BAD_REQUEST);
    let long = format!("info{}", ",endcap=info".repeat(1_000));
    assert_eq!(logged.set(long).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(logged.filter().await, "info,sqlx=warn\n");
    // The other ports do not have this path.
    let url = format!("{}/log", logged.http);
    let response = logged.client.put(url).body("off").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
}
