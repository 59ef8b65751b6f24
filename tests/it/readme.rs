//! The README's tour works as written.

use std::process::Command;

use endcap::store::Engine::{self, Postgres, Sqlite};
use rstest::rstest;

use crate::harness::Server;

/// The shell lines of the tour, in order.
fn tour() -> String {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let tour = readme.split("\n## Tour\n").nth(1).unwrap();
    let tour = tour.split("\n## ").next().unwrap();
    let blocks = tour.split("```sh\n").skip(1);
    blocks
        .map(|block| block.split("```").next().unwrap())
        .collect::<Vec<_>>()
        .join("\n")
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn the_tour_works_as_written(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let address = |url: &str| url.strip_prefix("http://").unwrap().to_owned();
    let script = tour()
        .replace("localhost:50051", &address(&server.grpc))
        .replace("localhost:8080", &address(&server.http));
    let output = Command::new("bash")
        .args(["-e", "-x", "-c", &script])
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}\n{log}");
    // What the text around the lines says of their answers.
    let order = |ids: &[&str]| {
        let places: Vec<_> = ids.iter().map(|id| format!("\"id\": \"{id}\"")).collect();
        let mut rest = printed.as_ref();
        places
            .iter()
            .all(|place| match rest.split_once(place.as_str()) {
                Some((_, after)) => {
                    rest = after;
                    true
                }
                None => false,
            })
    };
    assert!(
        order(&["parasol", "float", "hat", "towel", "sandals"]),
        "{printed}"
    );
    assert!(
        order(&["hat", "towel", "sandals", "parasol", "float"]),
        "{printed}"
    );
    let bargains = [r#""id":"straw""#, r#""id":"visor""#, r#""id":"panama""#];
    let listed = bargains.map(|id| printed.contains(id));
    assert_eq!(listed, [true, true, false], "{printed}");
    assert!(log.contains("mutations[0].move_range.last_index"), "{log}");
}
