//! The clients in examples/, built and run as their page says. scripts/setup installs what they
//! need.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
};

use endcap::{
    config::Flags,
    store::Engine::{self, Postgres, Sqlite},
};
use rstest::rstest;

use crate::{auth::new_key, harness::Server};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The output of a program.
fn run(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; run the tests through scripts/test"));
    let printed = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{printed}\n{errors}");
    printed
}

fn protos() -> Vec<PathBuf> {
    let folder = std::fs::read_dir(Path::new(ROOT).join("proto/endcap/v1")).unwrap();
    let files = folder.map(|entry| entry.unwrap().path());
    // Protoc requires files to be named relative to its search paths.
    files
        .map(|file| file.strip_prefix(ROOT).unwrap().to_owned())
        .collect()
}

/// A compiler of protos, with its search paths.
fn compiler(program: impl AsRef<OsStr>, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(ROOT)
        .args(arguments)
        .args(["-I", "proto", "-I", "third_party"]);
    command
}

/// Runs a client against a server that requires a key. On an empty database, the smart collection
/// contains what the client itself registers.
async fn works(engine: Engine, name: &str, client: impl Fn(&Server) -> Command) {
    let flags = Flags {
        auth: Some("keys".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let scopes = ["collections.read", "collections.write"];
    let key = new_key(&server, "shop", &scopes, &[]);
    let expected = format!(
        "shelf: parasol float hat towel sandals\nABORTED: read again\nbargains: {name}-visor\n"
    );
    // The client leaves nothing behind, so it can run again.
    for _ in 0..2 {
        assert_eq!(run(client(&server).env("ENDCAP_KEY", &key)), expected);
    }
}

fn address(server: &Server) -> &str {
    server.grpc.strip_prefix("http://").unwrap()
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn python(#[values(Sqlite, Postgres)] engine: Engine) {
    // The script is in the environment with the packages.
    let found =
        run(Command::new("bash").args(["-c", "realpath $(command -v python-grpc-tools-protoc)"]));
    let python = Path::new(found.trim()).with_file_name("python");
    let generated = tempfile::tempdir().unwrap();
    let out = generated.path().display();
    let (messages, stubs) = (
        format!("--python_out={out}"),
        format!("--grpc_python_out={out}"),
    );
    run(compiler(&python, &["-m", "grpc_tools.protoc", &messages, &stubs]).args(protos()));
    works(engine, "python", |server| {
        let mut client = Command::new(&python);
        client
            .env("PYTHONPATH", generated.path())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .current_dir(Path::new(ROOT).join("examples/python"))
            .args(["main.py", address(server)]);
        client
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn typescript() {
    let folder = Path::new(ROOT).join("examples/typescript");
    let tool = |name: &str| {
        let mut command = Command::new(folder.join("node_modules/.bin").join(name));
        command.current_dir(&folder);
        command
    };
    run(tool("buf").args(["generate", "../.."]));
    run(&mut tool("tsc"));
    for engine in [Sqlite, Postgres] {
        for kind in ["grpc", "web"] {
            works(engine, kind, |server| {
                let url = if kind == "web" {
                    &server.http
                } else {
                    &server.grpc
                };
                let mut client = Command::new("node");
                client
                    .current_dir(&folder)
                    .args(["dist/src/main.js", kind, url]);
                client
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn go() {
    const ANNOTATIONS: &str = "google.golang.org/genproto/googleapis/api/annotations";
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("src");
    let example = source.join("example");
    std::fs::create_dir_all(&example).unwrap();
    for file in ["examples/go/main.go", "tests/clients/go/codec.go"] {
        let file = Path::new(ROOT).join(file);
        std::fs::copy(&file, example.join(file.file_name().unwrap())).unwrap();
    }
    let imports =
        format!("Mgoogle/api/http.proto={ANNOTATIONS},Mgoogle/api/annotations.proto={ANNOTATIONS}");
    let out = source.display();
    let arguments = [
        format!("--go_out={out}"),
        format!("--go-grpc_out={out}"),
        format!("--go_opt={imports}"),
        format!("--go-grpc_opt={imports}"),
    ];
    run(compiler("protoc", &[]).args(arguments).args(protos()));
    let program = folder.path().join("client");
    run(Command::new("go")
        .current_dir(&example)
        .env("GO111MODULE", "off")
        .env(
            "GOPATH",
            format!("{}:/usr/share/gocode", folder.path().display()),
        )
        .args(["build", "-o"])
        .arg(&program));
    for engine in [Sqlite, Postgres] {
        works(engine, "go", |server| {
            let mut client = Command::new(&program);
            client.arg(address(server));
            client
        })
        .await;
    }
}
