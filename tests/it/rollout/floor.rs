//! A schema that is newer than the program: it is used if its floor allows it, and rejected
//! otherwise.

use endcap::{
    grpc::pb::collection_service_client::CollectionServiceClient,
    store::{
        Engine::{self, Postgres, Sqlite},
        schema::own_version,
    },
};
use rstest::rstest;
use tonic::Code;

use super::Place;
use crate::{
    harness::{append, create, get, is_ready, mutate, products},
    program::{Running, start},
};

/// Changes of a later migration that only adds.
pub(super) const NEWER: [&str; 4] = [
    "ALTER TABLE collections ADD COLUMN later TEXT",
    "ALTER TABLE products ADD COLUMN later BIGINT NOT NULL DEFAULT 7",
    "CREATE TABLE later (id BIGINT PRIMARY KEY)",
    "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m20990101_000001_later', 1)",
];
/// The change of a later migration that raises the floor.
const RAISED: &str = "UPDATE schema_compatibility SET floor = 'm20990101_000001_later'";

async fn newer(engine: Engine) -> Place {
    let place = Place::new(engine).await;
    let (status, _, error) = place.run(&["migrate"]);
    assert_eq!(status, Some(0), "{error}");
    place.execute(&NEWER).await;
    place
}

/// The commands that open a database.
const COMMANDS: [&[&str]; 9] = [
    &["serve"],
    &["migrate"],
    &["migrate", "--check"],
    &["check"],
    &["key", "list"],
    &["key", "revoke", "x"],
    &["key", "create", "--label=x", "--tenant=t", "--scope=admin"],
    &["secret", "rotate"],
    &["backup", "backup.db"],
];

/// The commands that can complete on a newer, compatible schema.
fn runnable(engine: Engine) -> impl Iterator<Item = &'static &'static [&'static str]> {
    COMMANDS.iter().filter(move |command| {
        let needs_sqlite = command[0] == "backup" && engine == Postgres;
        command[0] != "serve" && command[1..] != ["revoke", "x"] && !needs_sqlite
    })
}

async fn client(server: &Running) -> CollectionServiceClient<tonic::transport::Channel> {
    let client = CollectionServiceClient::connect(server.grpc.clone());
    client.await.unwrap()
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_newer_compatible_schema_is_used(#[values(Sqlite, Postgres)] engine: Engine) {
    let place = newer(engine).await;
    for command in runnable(engine) {
        let mut program = place.endcap();
        let quiet = program.args(["--log", "error"]).args(*command);
        let (status, printed, error) = super::run(quiet.current_dir(place.data()));
        assert_eq!((status, error.as_str()), (Some(0), ""), "{command:?}");
        if *command == ["migrate"] {
            let told = "nothing to do: the schema is newer, up to m20990101_000001_later, and \
                        compatible with this version, ";
            assert_eq!(printed, format!("{told}{}\n", own_version()));
        }
    }
    let (_, printed, _) = place.run(&["migrate", "--status"]);
    let told = "m20990101_000001_later\tunknown-newer\nfloor\tm20261129_000001_moved_products\n";
    assert!(printed.contains(told), "{printed}");

    let server = start(place.endcap());
    let mut client = client(&server).await;
    create(&mut client, "a").await;
    let request = mutate("a", vec![append(["p"])]);
    client.mutate_children(request).await.unwrap();
    assert_eq!(products(&mut client, "a").await, ["p"]);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_schema_with_a_higher_floor_is_rejected_by_every_command(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let place = newer(engine).await;
    place.execute(&[RAISED]).await;
    for command in COMMANDS {
        let mut program = place.endcap();
        let quiet = program.args(["--log", "error"]).args(command);
        let (status, printed, error) = super::run(quiet.current_dir(place.data()));
        if command[0] == "backup" && engine == Postgres {
            assert_eq!(status, Some(1));
            continue;
        }
        let expected = if command == ["migrate", "--check"] {
            2
        } else {
            1
        };
        assert_eq!((status, &*printed), (Some(expected), ""), "{command:?}");
        let told = format!(
            "endcap: the schema is too new for this version of Endcap: it requires the \
             migration m20990101_000001_later; the newest migration of Endcap {} is {}; run a \
             newer version, or restore a backup\n",
            env!("CARGO_PKG_VERSION"),
            own_version()
        );
        assert_eq!(error, told, "{command:?}");
    }
    assert!(!place.data().join("backup.db").exists());
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn raising_the_floor_makes_a_running_server_unready(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let place = newer(engine).await;
    let server = start(place.endcap());
    let mut client = client(&server).await;
    create(&mut client, "a").await;
    place.execute(&[RAISED]).await;
    let body = is_ready(&server.admin, false).await;
    assert_eq!(
        body,
        "not ready: the schema is too new for this version of Endcap\n"
    );
    let status = get(&mut client, "a").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    // Restoring a backup has the same effect.
    let lowered = "UPDATE schema_compatibility SET floor = 'm'";
    place.execute(&[lowered]).await;
    is_ready(&server.admin, true).await;
    get(&mut client, "a").await.unwrap();
}
