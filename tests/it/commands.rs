//! `endcap import`, `export` and `check`: the program itself, against a running server and its
//! database.

use std::{
    collections::HashSet,
    io::Write as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use endcap::grpc::pb;
use endcap::store::Engine::{self, Postgres, Sqlite};
use rstest::rstest;
use sea_orm::{ConnectionTrait as _, Database};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::harness::{Server, append, create, move_range, mutate, operation, products};

pub(crate) fn endcap(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_endcap"));
    command.env_clear().args(arguments);
    command
}

/// Runs the program: its status, its standard output, its standard error.
pub(crate) fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    read(&endcap(arguments).output().unwrap())
}

fn run_with_input(arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut child = endcap(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    // The program may exit before it has read everything.
    let _ = pipe.write_all(input.as_bytes());
    drop(pipe);
    read(&child.wait_with_output().unwrap())
}

pub(crate) fn read(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

fn import<'a>(server: &'a str, file: &'a str) -> Vec<&'a str> {
    let mut arguments = vec!["import", "children", file];
    arguments.extend(["--collection", "summer", "--server", server]);
    arguments
}

fn export(server: &str) -> Vec<&str> {
    let mut arguments = vec!["export", "children"];
    arguments.extend(["--collection", "summer", "--server", server]);
    arguments
}

fn lines<S: AsRef<str>>(ids: &[S]) -> String {
    ids.iter().map(|id| format!("{}\n", id.as_ref())).collect()
}

/// 25,000 ids, of which every fifth occurred before; and the distinct ones in order.
fn ids_with_repeats() -> (Vec<String>, Vec<String>) {
    let all: Vec<_> = (0..25_000_u32)
        .map(|at| format!("p{}", if at % 5 == 4 { at / 2 } else { at }))
        .collect();
    let mut seen = HashSet::new();
    let distinct = all.iter().filter(|id| seen.insert(*id)).cloned().collect();
    (all, distinct)
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_imported_and_exported(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    create(&mut server.grpc().await, "summer").await;
    let folder = tempfile::tempdir().unwrap();
    let (file, out) = (folder.path().join("ids"), folder.path().join("out"));
    let (file, out) = (file.to_str().unwrap(), out.to_str().unwrap());
    let (all, distinct) = ids_with_repeats();
    // With blank lines, and with a Windows line ending.
    std::fs::write(file, lines(&all).replace("p7\n", "\n  \np7\r\n")).unwrap();

    let (status, printed, error) = run(&import(&server.grpc, file));
    assert_eq!((status, error.as_str()), (Some(0), ""), "{printed}");
    let counts = format!(
        "{} added, {} already present, in ",
        distinct.len(),
        all.len() - distinct.len()
    );
    assert!(printed.starts_with(&counts), "{printed}");
    assert!(printed.ends_with(" ids/s\n"), "{printed}");

    let (status, printed, error) = run(&export(&server.grpc));
    assert_eq!((status, error.as_str()), (Some(0), ""));
    assert!(printed == lines(&distinct), "{} bytes", printed.len());

    let (status, printed, _) = run(&[&export(&server.grpc)[..], &[out]].concat());
    assert_eq!(status, Some(0));
    assert_eq!(printed, format!("{} ids exported\n", distinct.len()));
    assert!(std::fs::read_to_string(out).unwrap() == lines(&distinct));
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn an_import_from_standard_input_replaces_the_list_if_requested(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    create(&mut client, "summer").await;
    let import = import(&server.grpc, "-");
    let (status, printed, error) = run_with_input(&import, "a\nb\nc");
    assert_eq!(status, Some(0), "{error}");
    assert!(printed.starts_with("3 added, 0 already present, in "));

    let (all, distinct) = ids_with_repeats();
    let replace = [&import[..], &["--replace"]].concat();
    let input = format!("c\n{}", lines(&all));
    let (status, printed, error) = run_with_input(&replace, &input);
    assert_eq!(status, Some(0), "{error}");
    assert!(printed.contains(" already present, 2 removed, in "));
    let mut expected = vec!["c".to_owned()];
    expected.extend(distinct);
    assert!(products(&mut client, "summer").await == expected);

    let (status, printed, _) = run_with_input(&replace, "");
    assert_eq!(status, Some(0));
    let told = format!(
        "0 added, 0 already present, {} removed, in ",
        expected.len()
    );
    assert!(printed.starts_with(&told), "{printed}");
    assert!(products(&mut client, "summer").await.is_empty());
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn import_and_export_accept_a_tenant_and_a_list(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    for id in ["summer", "hats"] {
        let request = pb::CreateCollectionRequest {
            tenant_id: "shop".into(),
            collection: Some(crate::harness::named(id, id)),
            ..pb::CreateCollectionRequest::default()
        };
        client.create_collection(request).await.unwrap();
    }
    let place = ["--tenant", "shop", "--list", "collections"];
    let import = [&import(&server.grpc, "-")[..], &place].concat();
    let (status, printed, error) = run_with_input(&import, "hats\n");
    assert_eq!(status, Some(0), "{error}");
    assert!(printed.starts_with("1 added"), "{printed}");
    let (_, printed, _) = run(&[&export(&server.grpc)[..], &place].concat());
    assert_eq!(printed, "hats\n");
    let (status, _, error) = run(&export(&server.grpc));
    assert_eq!(status, Some(1));
    assert!(error.contains("NOT_FOUND"), "{error}");
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn errors_of_import_and_export_are_reported(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    create(&mut client, "summer").await;
    let arguments = import(&server.grpc, "-");

    let (status, _, error) = run_with_input(&arguments, "a\n\nb\tc\nd\n");
    assert_eq!(status, Some(1));
    assert!(
        error.contains("standard input, line 3: \"b\\tc\" must be made of printable Unicode"),
        "{error}"
    );
    assert!(products(&mut client, "summer").await.is_empty());

    // The whole file is checked before anything is changed, whether it adds or replaces.
    let ids: Vec<_> = (0..10_001).map(|at| format!("p{at}")).collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ids");
    // Invalid UTF-8 is not an id.
    let odd = [lines(&ids).as_bytes(), b"\xe9\n"].concat();
    std::fs::write(&file, odd).unwrap();
    let file = file.to_str().unwrap();
    client
        .mutate_children(mutate("summer", vec![append(["old"])]))
        .await
        .unwrap();
    for mode in [&[][..], &["--replace"]] {
        let (status, _, error) = run(&[&import(&server.grpc, file)[..], mode].concat());
        assert_eq!(status, Some(1));
        assert!(error.contains(&format!("{file}, line 10002: ")), "{error}");
        assert_eq!(products(&mut client, "summer").await, ["old"]);
    }

    let (status, _, error) = run_with_input(&arguments, &"x".repeat(100_000));
    assert_eq!(status, Some(1));
    assert!(error.contains("line 1: has 4096 bytes"), "{error}");

    let (status, _, error) = run(&import(&server.grpc, "/nowhere/ids"));
    assert_eq!(status, Some(1));
    assert!(error.contains("/nowhere/ids: No such file"), "{error}");

    let elsewhere = ["--tenant", "nobody"];
    let none = folder.path().join("none");
    let to_file = [none.to_str().unwrap()];
    for (arguments, input) in [
        ([&arguments[..], &elsewhere].concat(), "a\n"),
        (
            [&export(&server.grpc)[..], &elsewhere, &to_file].concat(),
            "",
        ),
    ] {
        let (status, printed, error) = run_with_input(&arguments, input);
        assert_eq!((status, printed.as_str()), (Some(1), ""));
        let told = "endcap: the server responded with NOT_FOUND: ";
        assert!(error.starts_with(told), "{error}");
        assert!(error.contains("summer"), "{error}");
    }
    assert!(!none.exists());
}

/// A CSV file of 30,000 rows for three collections, with a byte order mark.
fn sets() -> (String, Vec<String>) {
    let mut text = "\u{feff}Title,\"Set\",SKU\r\n".to_owned();
    for at in 0..10_000 {
        for set in ["a", "b", "c"] {
            text.push_str(&format!(
                "\"A \"\"{at}\"\", in {set}\",{set},\"n, {at}\"\r\n"
            ));
        }
    }
    (text, (0..10_000).map(|at| format!("n, {at}")).collect())
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn csv_is_imported_into_several_collections(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sets.CSV");
    let (text, ids) = sets();
    std::fs::write(&file, text).unwrap();
    let mut import = vec!["import", "children", file.to_str().unwrap()];
    import.extend(["--server", &server.grpc, "--collection-column", "Set"]);
    import.extend(["--id-column", "SKU"]);

    // One of the collections is missing, so the others must stay as they are.
    for collection in ["a", "b"] {
        create(&mut client, collection).await;
    }
    let (status, _, error) = run(&import);
    assert_eq!(status, Some(1));
    assert!(error.contains("NOT_FOUND"), "{error}");
    assert!(products(&mut client, "a").await.is_empty());

    create(&mut client, "c").await;
    client
        .mutate_children(mutate("c", vec![append(["old"])]))
        .await
        .unwrap();
    let (status, printed, error) = run(&import);
    assert_eq!((status, error.as_str()), (Some(0), ""));
    let told = "30000 added, 0 already present, in 3 collections, in ";
    assert!(printed.starts_with(told), "{printed}");
    for collection in ["a", "b"] {
        assert!(products(&mut client, collection).await == ids);
    }
    assert!(products(&mut client, "c").await == [&["old".to_owned()][..], &ids].concat());

    let (status, printed, _) = run(&[&import[..], &["--replace"]].concat());
    assert_eq!(status, Some(0));
    assert!(
        printed.contains(" 1 removed, in 3 collections, in "),
        "{printed}"
    );
    assert!(products(&mut client, "c").await == ids);
}

/// The longest ids, of which 10,000 exceed the size of a request.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn long_ids_are_imported(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    create(&mut client, "summer").await;
    let id = |at: u32| format!("{at:05}{}", "\u{1f3a9}".repeat(123));
    let ids: Vec<_> = (0..9_000).map(id).collect();
    let (status, _, error) = run_with_input(&import(&server.grpc, "-"), &lines(&ids));
    assert_eq!((status, error.as_str()), (Some(0), ""));
    assert!(products(&mut client, "summer").await == ids);
}

/// A reader like `head` closes the pipe.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_to_a_closed_pipe_exits_without_an_error() {
    let server = Server::new(Sqlite).await;
    create(&mut server.grpc().await, "summer").await;
    let (all, _) = ids_with_repeats();
    let (status, _, error) = run_with_input(&import(&server.grpc, "-"), &lines(&all));
    assert_eq!(status, Some(0), "{error}");
    let mut command = endcap(&export(&server.grpc));
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let (status, _, error) = read(&child.wait_with_output().unwrap());
    assert_eq!((status, error.as_str()), (Some(0), ""));
}

#[test]
fn an_import_requires_exactly_one_collection_flag() {
    let both = ["--collection", "a", "--collection-column", "b"];
    for odd in [&[][..], &both] {
        let (status, _, error) = run(&[&["import", "children", "x.csv"], odd].concat());
        assert_eq!(status, Some(2));
        assert!(error.contains("--collection"), "{error}");
    }
}

#[test]
fn an_unreachable_server_is_reported() {
    let nowhere = "http://127.0.0.1:1";
    for arguments in [import(nowhere, "-"), export(nowhere)] {
        let (status, _, error) = run_with_input(&arguments, "a\n");
        assert_eq!(status, Some(1));
        let told = "endcap: can't reach a server at http://127.0.0.1:1\n";
        assert!(error.starts_with(told), "{error}");
    }
    // Without `--server`, the address is that of the settings, or loopback for all addresses.
    let settings = ["--grpc-addr", "0.0.0.0:1", "--auth", "none"];
    let arguments = ["export", "children", "--collection", "summer"];
    let (_, _, error) = run(&[&arguments[..], &settings].concat());
    assert!(error.contains("at http://127.0.0.1:1\n"), "{error}");
}

/// A proxy of the server whose first connection breaks after this many bytes, at the next response.
/// Returns its URL.
async fn breaking(server: &str, bytes: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = server.strip_prefix("http://").unwrap().to_owned();
    tokio::spawn(async move {
        let (client, _) = listener.accept().await.unwrap();
        let there = TcpStream::connect(&server).await.unwrap();
        carry(client, there, bytes).await;
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut there = TcpStream::connect(&server).await.unwrap();
            tokio::spawn(
                async move { tokio::io::copy_bidirectional(&mut client, &mut there).await },
            );
        }
    });
    url
}

async fn carry(mut client: TcpStream, mut server: TcpStream, bytes: usize) {
    let (mut question, mut response) = (vec![0; 1 << 14], vec![0; 1 << 14]);
    let mut carried = 0;
    loop {
        tokio::select! {
            read = client.read(&mut question) => {
                let length = read.unwrap();
                carried += length;
                server.write_all(&question[..length]).await.unwrap();
            }
            read = server.read(&mut response) => {
                if carried >= bytes {
                    return;
                }
                client.write_all(&response[..read.unwrap()]).await.unwrap();
            }
        }
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_whose_response_is_lost_is_retried_and_counted_once(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    create(&mut client, "summer").await;
    let ids: Vec<_> = (0..25_000).map(|at| format!("product-{at}")).collect();
    // The connection breaks within the second batch of 10,000, or at its end.
    for bytes in [170_000, 280_000] {
        let way = breaking(&server.grpc, bytes).await;
        let replace = [&import(&way, "-")[..], &["--replace"]].concat();
        let (status, printed, error) = run_with_input(&replace, &lines(&ids));
        assert_eq!(status, Some(0), "{error}");
        assert!(
            printed.starts_with("25000 added, 0 already present, "),
            "{printed}"
        );
        assert!(products(&mut client, "summer").await == ids);
        let empty = pb::child_mutation::Replace { ids: Vec::new() };
        let empty = operation(pb::child_mutation::Operation::Replace(empty));
        client
            .mutate_children(mutate("summer", vec![empty]))
            .await
            .unwrap();
    }
}

fn check(server: &Server) -> (Option<i32>, String) {
    let [flag, value] = &server.database_flag;
    let (status, printed, error) = run(&["check", flag, value]);
    assert_eq!(error, "");
    (status, printed)
}

/// Fills a server with a collection of 2,000 products, some of whose segments were split or moved,
/// and with another tenant.
async fn filled(server: &Server) {
    let mut client = server.grpc().await;
    create(&mut client, "summer").await;
    create(&mut client, "hats").await;
    let ids: Vec<_> = (0..2_000).map(|at| format!("p{at}")).collect();
    let (status, _, error) = run_with_input(&import(&server.grpc, "-"), &lines(&ids));
    assert_eq!(status, Some(0), "{error}");
    let remove = pb::child_mutation::Remove {
        ids: ids[500..700].to_vec(),
        ..Default::default()
    };
    let mutations = vec![
        move_range(300, 1_400, 10),
        operation(pb::child_mutation::Operation::Remove(remove)),
    ];
    let request = mutate("summer", mutations);
    client.mutate_children(request).await.unwrap();
    let request = pb::CreateCollectionRequest {
        tenant_id: "shop".into(),
        collection: Some(crate::harness::named("shoes", "Shoes")),
        ..pb::CreateCollectionRequest::default()
    };
    client.create_collection(request).await.unwrap();
}

/// Damages rows, runs the check, and returns the reported problems without the last line.
async fn problems_after(server: &Server, statement: &str) -> Vec<String> {
    let database = Database::connect(&server.database).await.unwrap();
    database.execute_unprepared(statement).await.unwrap();
    database.close().await.unwrap();
    let (status, printed) = check(server);
    assert_eq!(status, Some(1), "{printed}");
    let mut lines: Vec<_> = printed.lines().map(str::to_owned).collect();
    let last = lines.pop().unwrap();
    assert_eq!(last.rsplit(' ').next(), Some(&*lines.len().to_string()));
    lines
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_check_reports_inconsistent_data(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    filled(&server).await;
    // Each tenant has two root collections.
    let sound = "checked; tenants: 2, collections: 7, no problems\n";
    assert_eq!(check(&server), (Some(0), sound.into()));
    let summer = "collection_id = 'summer' AND list = 1";
    for (breaks, told, mends) in [
        (
            format!("DELETE FROM members WHERE {summer} AND child_id = 'p7'"),
            "default summer products: p7 is in segment ",
            None,
        ),
        (
            "UPDATE collections SET collection_count = 5 WHERE id = 'shoes'".to_owned(),
            "shop shoes collections: stored child count 5, actual 0",
            Some("UPDATE collections SET collection_count = 0 WHERE id = 'shoes'"),
        ),
        (
            "INSERT INTO segments (tenant_id, collection_id, list, segment_id, rank, len) \
             VALUES ('ghosts', 'gone', 1, 1, 1, 1)"
                .to_owned(),
            "ghosts gone products: the collection does not exist, but has 1 segments, ",
            Some("DELETE FROM segments WHERE tenant_id = 'ghosts'"),
        ),
        (
            "INSERT INTO members (tenant_id, collection_id, list, child_id, segment_id) \
             VALUES ('shop', 'gone', 2, 'p', 1)"
                .to_owned(),
            "shop gone collections: the collection does not exist, but has 0 segments, ",
            Some("DELETE FROM members WHERE collection_id = 'gone'"),
        ),
        (
            "INSERT INTO segment_contents (tenant_id, collection_id, list, segment_id, id_list) \
             VALUES ('shop', 'shoes', 1, 9, 'p')"
                .to_owned(),
            "shop shoes products: contents of a missing segment 9",
            Some("DELETE FROM segment_contents WHERE collection_id = 'shoes'"),
        ),
    ] {
        let problems = problems_after(&server, &breaks).await;
        let about: Vec<_> = problems
            .iter()
            .filter(|line| line.starts_with(told))
            .collect();
        assert_eq!(about.len(), 1, "{told} in {problems:?}");
        assert!(problems.len() <= 2, "{problems:?}");
        if let Some(mends) = mends {
            let problems = problems_after(&server, mends).await;
            // The problem of the first case remains.
            assert_eq!(problems.len(), 1, "{problems:?}");
        }
    }
    let longer = format!(
        "UPDATE segments SET len = len + 1 WHERE {summer} AND rank = \
         (SELECT min(rank) FROM segments WHERE {summer})"
    );
    let problems = problems_after(&server, &longer).await;
    assert_eq!(problems.len(), 3, "{problems:?}");
    let told = |part: &str| problems.iter().any(|line| line.contains(part));
    assert!(told(": stored length "), "{problems:?}");
    assert!(told("stored child count 1800, actual 1801"), "{problems:?}");
}

#[test]
fn a_check_does_not_create_a_database() {
    let folder = tempfile::tempdir().unwrap();
    let data: &Path = &folder.path().join("data");
    let (status, _, error) = run(&["check", "--data-dir", data.to_str().unwrap()]);
    assert_eq!(status, Some(1));
    assert!(error.contains("there is no database at "), "{error}");
    assert!(!data.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_requires_the_current_schema_and_a_reachable_database() {
    let url = crate::postgres::new_database().await;
    let (status, _, error) = run(&["check", "--database-url", &url]);
    assert_eq!(status, Some(1));
    assert!(error.contains("run `endcap migrate` first"), "{error}");
    let nowhere = "postgres://nobody@127.0.0.1:1/none";
    let acquire_timeout = ["--database-acquire-timeout", "1s"];
    let arguments = [&["check", "--database-url", nowhere][..], &acquire_timeout].concat();
    let (status, _, error) = run(&arguments);
    assert_eq!(status, Some(1));
    let told = "endcap: the database can't be reached: 127.0.0.1:1/none: Connection refused";
    assert!(error.starts_with(told), "{error}");
}

#[test]
fn the_help_of_check_reindex_import_and_export_has_an_example() {
    for (command, example) in [
        (&["check"][..], "endcap --database-url "),
        (&["reindex"], "endcap --database-url "),
        (&["import", "children"], "endcap import children ids.txt "),
        (
            &["export", "children"],
            "endcap export children --collection ",
        ),
    ] {
        let (status, help, _) = run(&[command, &["--help"]].concat());
        assert_eq!(status, Some(0));
        assert!(
            help.contains("Example:\n") && help.contains(example),
            "{help}"
        );
    }
}
