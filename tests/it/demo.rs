//! `endcap demo`: the program itself, and the commands that it suggests.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rstest::rstest;

/// Starts the demo with its temporary directory in `folder`.
fn demo(folder: &Path, arguments: &[&str]) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_endcap"))
        .env_clear()
        .env("TMPDIR", folder)
        // The demo ignores both of these.
        .env("ENDCAP_AUTH", "keys")
        .env("ENDCAP_DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")
        .arg("demo")
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

/// The output of the demo until it is loaded.
fn printed(output: &mut BufReader<ChildStdout>) -> String {
    let mut printed = String::new();
    while !printed.contains("\nServing until Ctrl-C") {
        assert!(output.read_line(&mut printed).unwrap() > 0, "{printed}");
    }
    printed
}

fn end(mut child: Child, signal: &str) -> ExitStatus {
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args([signal, &pid])
            .status()
            .unwrap()
            .success()
    );
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("the demo does not stop");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn files(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

#[test]
fn the_commands_of_the_demo_work_as_printed_and_no_file_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, mut output) = demo(
        folder.path(),
        &["--products", "2000", "--data-dir", "unused"],
    );
    let printed = printed(&mut output);
    assert!(!printed.contains('\u{1b}'), "{printed}");
    for line in [
        "move the last",
        "insert a",
        "read a page",
        "find the",
        "explain a",
    ] {
        let line = printed.lines().find(|text| text.starts_with(line)).unwrap();
        assert!(line.contains(" ms "), "{line}");
    }
    assert!(printed.contains("2,000"), "{printed}");

    let (_, lines) = printed.split_once("In another terminal").unwrap();
    let (_, lines) = lines.split_once('\n').unwrap();
    let (lines, _) = lines.split_once("\nServing until").unwrap();
    let pasted = Command::new("bash")
        .args(["-e", "-c", lines])
        .output()
        .unwrap();
    let responses = String::from_utf8_lossy(&pasted.stdout);
    let errors = String::from_utf8_lossy(&pasted.stderr);
    assert!(pasted.status.success(), "{lines}\n{responses}\n{errors}");
    // The results that the comments in the commands describe.
    for part in [
        "https://images.example/garden.jpg",
        r#""id":"garden-furniture""#,
        r#""id":"sku-"#,
        r#""id":"seeds""#,
        "MEMBERSHIP_REASON_NO_MATCH",
        r#""slug":"garden""#,
        "https://images.example/kitchen.jpg",
    ] {
        assert!(responses.contains(part), "{part} in {responses}");
    }

    assert_eq!(files(folder.path()), 1);
    let mut errors = child.stderr.take().unwrap();
    assert!(end(child, "-INT").success());
    assert_eq!(files(folder.path()), 0);
    // No progress bar without a terminal, and no errors.
    let told = "endcap demo does not use --data-dir\n";
    assert_eq!(std::io::read_to_string(&mut errors).unwrap(), told);
}

#[rstest]
fn a_signal_stops_the_demo_while_it_loads(#[values("-INT", "-TERM")] signal: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (child, _output) = demo(folder.path(), &["--products", "10000000"]);
    let deadline = Instant::now() + Duration::from_secs(60);
    // The server runs, so the list is being loaded, or will be.
    let database = || {
        let demo = std::fs::read_dir(folder.path()).unwrap().next();
        demo.is_some_and(|demo| demo.unwrap().path().join("endcap.db").exists())
    };
    while !database() {
        assert!(Instant::now() < deadline, "the demo creates no database");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(end(child, signal).success());
    assert_eq!(files(folder.path()), 0);
}

#[test]
fn the_demo_rejects_a_public_address_unless_auth_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--grpc-addr", "0.0.0.0:0", "--auth", "keys"];
    let (child, _) = demo(folder.path(), &arguments);
    let ended = child.wait_with_output().unwrap();
    assert!(!ended.status.success());
    let error = String::from_utf8(ended.stderr).unwrap();
    assert!(
        error.contains("grpc_addr: 0.0.0.0:0 is reachable"),
        "{error}"
    );
    assert_eq!(files(folder.path()), 0);

    let arguments = [
        "--grpc-addr",
        "0.0.0.0:0",
        "--auth",
        "none",
        "--products",
        "100",
    ];
    let (child, mut output) = demo(folder.path(), &arguments);
    let printed = printed(&mut output);
    assert!(!printed.contains("0.0.0.0"), "{printed}");
    assert!(end(child, "-TERM").success());
}
