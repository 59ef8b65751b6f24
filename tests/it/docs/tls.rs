//! docs/how-to/tls.md works as written. Its commands start the server themselves.

use std::{net::TcpListener, path::Path, process::Command};

use super::Page;

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn the_commands_of_the_tls_guide_work_as_written() {
    let page = Page::read(Path::new("docs/how-to/tls.md"));
    let blocks = page.text.split("```sh\n").skip(1);
    let blocks: Vec<_> = blocks
        .map(|block| block.split("```").next().unwrap())
        .collect();
    let [before, serve, after] = blocks.try_into().unwrap();
    let (grpc, http) = (free_port(), free_port());
    let addresses = format!(
        "endcap --grpc-addr 127.0.0.1:{grpc} --http-addr 127.0.0.1:{http} \
         --admin-addr 127.0.0.1:0 "
    );
    let serve = serve.trim().replace("endcap ", &addresses);
    let after = after
        .replace("localhost:50051", &format!("localhost:{grpc}"))
        .replace("localhost:8080", &format!("localhost:{http}"));
    let script = format!(
        "{before}\n{serve} &\ntrap \"kill $!\" EXIT\n\
         until (exec 3<>/dev/tcp/127.0.0.1/{http}) 2>&-; do kill -0 $!; sleep 0.05; done\n{after}"
    );
    let program = Path::new(env!("CARGO_BIN_EXE_endcap")).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("bash")
        .args(["-e", "-c", &script])
        .current_dir(&folder)
        .env("PATH", format!("{}:{path}", program.display()))
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}\n{printed}\n{log}");
    for collection in [r#""id": "rootCategory""#, r#""id":"rootCategory""#] {
        assert!(printed.contains(collection), "{printed}");
    }
}
