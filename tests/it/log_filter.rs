//! The log filter, shown and changed through the admin port.

use std::{
    fs::File,
    path::Path,
    time::{Duration, Instant},
};

use reqwest::{Client, StatusCode};
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

    /// Sends a request, and returns whether it is logged.
    async fn logs_a_request(&self) -> bool {
        let count = |log: &Path| {
            let lines = lines(log).into_iter();
            lines.filter(|line| line["status"] == 404).count()
        };
        let before = count(&self.log());
        let url = format!("{}/nothing", self.http);
        // A line is written before the next request is accepted.
        for _ in 0..2 {
            self.client.get(&url).send().await.unwrap();
        }
        count(&self.log()) > before
    }
}

#[tokio::test]
async fn the_log_filter_is_changed_without_a_restart() {
    let logged = Logged::start().await;
    assert_eq!(logged.filter().await, "info,sqlx=warn\n");
    assert!(logged.logs_a_request().await);

    let (status, response) = logged.set(" endcap::http=warn , error\n").await;
    assert_eq!(
        (status, &*response),
        (StatusCode::OK, "endcap::http=warn,error\n")
    );
    assert_eq!(logged.filter().await, "endcap::http=warn,error\n");
    let is_change = |line: &serde_json::Value| line["to"] == "endcap::http=warn,error";
    let change = line(&logged.log(), is_change).await;
    assert_eq!(change["from"], "info,sqlx=warn", "{change}");
    assert!(!logged.logs_a_request().await);

    // The change itself is logged, whatever the two filters allow.
    for filter in ["off", "error", "info"] {
        assert_eq!(logged.set(filter).await.0, StatusCode::OK);
        line(&logged.log(), |line| line["to"] == filter).await;
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    while !logged.logs_a_request().await {
        assert!(Instant::now() < deadline, "the request is not logged");
    }
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
