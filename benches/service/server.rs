//! The program as in production: with API keys, log level info and metrics, without a collector.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use bytes::Bytes;
use prost::Message;
use tonic::transport::Channel;

use crate::{
    jwt,
    load::{self, Grpc, Http},
};

/// The number of connections of a load client over gRPC.
const CONNECTIONS: usize = 8;

/// A running server, which is stopped when this is dropped.
pub(crate) struct Server {
    child: Child,
    channels: Vec<Channel>,
    /// Host and port of the REST port.
    pub(crate) http: String,
    /// The URL of the admin port.
    pub(crate) admin: String,
    /// An API key with all scopes.
    pub(crate) key: String,
    /// A JWT with the same, if they are accepted.
    pub(crate) jwt: Option<String>,
    _folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The differences between servers.
#[derive(Clone, Copy, Default)]
pub(crate) struct Options<'a> {
    /// The PostgreSQL database; `None` for the embedded one.
    pub(crate) database_url: Option<&'a str>,
    pub(crate) flags: &'a [&'a str],
    /// Whether JWTs are accepted in addition to keys.
    pub(crate) jwt: bool,
    /// A library to preload.
    pub(crate) preload: Option<&'a Path>,
}

impl Server {
    pub(crate) async fn start(options: Options<'_>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = prepare(folder.path(), options.database_url);
        let mut command = endcap(folder.path(), options.database_url);
        command.args(options.flags);
        let (auth, jwt) = if options.jwt {
            let (flags, token) = jwt::issue(folder.path());
            (flags, Some(token))
        } else {
            (["--auth", "keys"].map(str::to_owned).into(), None)
        };
        command.args(auth);
        for port in ["--grpc-addr", "--http-addr", "--admin-addr"] {
            command.args([port, "127.0.0.1:0"]);
        }
        if let Some(library) = options.preload {
            command.env("LD_PRELOAD", library);
        }
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let addresses = serving(&mut log);
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        let address = |port: &str| addresses[port].as_str().unwrap().to_owned();
        let mut server = Self {
            child,
            channels: Vec::new(),
            http: address("http"),
            admin: format!("http://{}", address("admin")),
            key,
            jwt,
            _folder: folder,
        };
        server.channels = channels(&address("grpc")).await;
        server
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The connections of its gRPC clients.
    pub(crate) fn channels(&self) -> &[Channel] {
        &self.channels
    }

    /// Calls of a method with the requests that `make` returns.
    pub(crate) fn method(
        &self,
        method: &str,
        make: impl Fn(load::Turn) -> Bytes + Send + Sync + 'static,
    ) -> Grpc {
        Grpc::new(&self.channels, method, &self.key, make)
    }

    /// Reads of a path on the REST port.
    pub(crate) fn path(&self, path: String) -> Http {
        Http {
            address: self.http.clone(),
            path,
            key: self.key.clone(),
        }
    }

    /// Calls a method once, and returns the bytes of the response message.
    pub(crate) async fn raw(&self, method: &str, request: &impl Message) -> Bytes {
        let bytes = Bytes::from(request.encode_to_vec());
        let channel = &self.channels[0];
        Grpc::new(
            std::slice::from_ref(channel),
            method,
            &self.key,
            move |_| bytes.clone(),
        )
        .once()
        .await
    }
}

/// The channels of a load client to a gRPC server.
pub(crate) async fn channels(address: &str) -> Vec<Channel> {
    let mut channels = Vec::new();
    for _ in 0..CONNECTIONS {
        let endpoint = Channel::from_shared(format!("http://{address}")).unwrap();
        channels.push(endpoint.connect().await.unwrap());
    }
    channels
}

/// The processor time that a process has used.
pub(crate) fn cpu(pid: u32) -> Duration {
    let pid = i32::try_from(pid).unwrap();
    let stat = procfs::process::Process::new(pid).unwrap().stat().unwrap();
    let ticks = (stat.utime + stat.stime) as f64;
    Duration::from_secs_f64(ticks / procfs::ticks_per_second() as f64)
}

/// Whether the server has this setting.
pub(crate) fn has_setting(flag: &str) -> bool {
    let help = Command::new(env!("CARGO_BIN_EXE_endcap"))
        .args(["serve", "--help"])
        .output()
        .unwrap();
    String::from_utf8_lossy(&help.stdout)
        .split_whitespace()
        .any(|word| word == flag)
}

fn endcap(folder: &Path, database_url: Option<&str>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_endcap"));
    command.env_clear().arg("--data-dir").arg(folder);
    if let Some(url) = database_url {
        command.args(["--database-url", url]);
    }
    command
}

/// Creates the database, and a key in it.
fn prepare(folder: &Path, database_url: Option<&str>) -> String {
    if database_url.is_some() {
        run(endcap(folder, database_url).arg("migrate"));
    }
    let mut create = endcap(folder, database_url);
    create.args(["key", "create", "--label", "bench", "--tenant", "*"]);
    for scope in ["collections.read", "collections.write", "admin"] {
        create.args(["--scope", scope]);
    }
    if database_url.is_none() {
        create.arg("--create-database");
    }
    run(&mut create).trim().to_owned()
}

/// Runs a program to its end, and returns its output.
pub(crate) fn run(command: &mut Command) -> String {
    let program = command.get_program().to_owned();
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", name(&program)));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", name(&program));
    String::from_utf8(output.stdout).unwrap()
}

fn name(program: &OsStr) -> String {
    program.display().to_string()
}

/// The addresses of the server, from its log, once it is ready.
fn serving(log: &mut impl BufRead) -> serde_json::Value {
    let (mut addresses, mut is_ready) = (None, false);
    loop {
        let mut line = String::new();
        assert_ne!(log.read_line(&mut line).unwrap(), 0, "the server ended");
        let entry: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
        match entry["message"].as_str() {
            Some("ready") => is_ready = true,
            Some("serving") => addresses = Some(entry),
            _ => {}
        }
        if is_ready && let Some(addresses) = addresses.take() {
            return addresses;
        }
    }
}
