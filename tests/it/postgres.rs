//! A temporary PostgreSQL server for the tests. It uses the installed programs, starts when the
//! first test needs it, and is removed when the test process ends.

use std::{
    fs,
    io::Read as _,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use sea_orm::{ConnectionTrait as _, Database};

/// The URL of a server on which tests may create databases without dropping them.
pub(crate) const URL_VARIABLE: &str = "ENDCAP_TEST_DATABASE_URL";

/// The URL of a new, empty database.
pub(crate) async fn new_database() -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let base = base_url();
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let name = format!("endcap_test_{}_{number}", std::process::id());
    let admin = Database::connect(base).await.unwrap();
    admin
        .execute_unprepared(&format!("CREATE DATABASE {name}"))
        .await
        .unwrap();
    admin.close().await.unwrap();
    let (server, _) = base.rsplit_once('/').unwrap();
    format!("{server}/{name}")
}

fn base_url() -> &'static str {
    static URL: OnceLock<String> = OnceLock::new();
    URL.get_or_init(|| match std::env::var(URL_VARIABLE) {
        Ok(url) => url,
        Err(_) => {
            static CLUSTER: OnceLock<Cluster> = OnceLock::new();
            CLUSTER.get_or_init(Cluster::start).url()
        }
    })
}

/// A cluster created with the installed programs. A watchdog stops it when this is dropped or the
/// process ends in any way: its standard input is a pipe that is closed then.
pub(crate) struct Cluster {
    programs: PathBuf,
    /// Contains the data and configuration, in `data`.
    pub(crate) folder: PathBuf,
    port: u16,
    watchdog: Option<Child>,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let trusting = ["-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8"];
        Self::made("initdb", &trusting)
    }

    /// A cluster whose data directory a program creates.
    pub(crate) fn made(program: &str, arguments: &[&str]) -> Self {
        let mut cluster = Self {
            programs: programs(),
            folder: tempfile::tempdir().unwrap().keep(),
            port: free_port(),
            watchdog: None,
        };
        give(&cluster.folder);
        run(cluster
            .command(program)
            .args(arguments)
            .arg("-D")
            .arg(cluster.folder.join("data")));
        cluster.start_again();
        cluster.watch();
        cluster
    }

    /// The URL of its first database.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Starts it, always on the same port.
    pub(crate) fn start_again(&self) {
        let options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=400 \
             -c unix_socket_directories='{}'",
            self.port,
            self.folder.display()
        );
        let log = self.folder.join("log").display().to_string();
        self.pg_ctl(&["-o", &options, "-l", &log, "start"]);
    }

    /// Runs `pg_ctl` on it, and waits until it ends.
    pub(crate) fn pg_ctl(&self, arguments: &[&str]) {
        run(self
            .command("pg_ctl")
            .args(["-w", "-t", "60", "-D"])
            .arg(self.folder.join("data"))
            .args(arguments));
    }

    fn watch(&mut self) {
        let script = "cat > /dev/null; \"$1\" -D \"$2/data\" -m immediate stop; rm -rf \"$2\"";
        let mut command = self.command("sh");
        command
            .args(["-c", script, "sh"])
            .arg(self.programs.join("pg_ctl"))
            .arg(&self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.watchdog = Some(command.spawn().unwrap());
    }

    /// A command that runs as a user who may run PostgreSQL.
    fn command(&self, program: &str) -> Command {
        let path = self.programs.join(program);
        let path = if path.exists() { path } else { program.into() };
        let mut command = of_user(&path);
        command.current_dir(&self.folder);
        command
    }
}

/// Gives a directory to that user.
pub(crate) fn give(folder: &Path) {
    if is_root() {
        run(Command::new("chown").arg("-R").arg(user()).arg(folder));
    }
}

/// A command that runs as a user who may run PostgreSQL, which refuses to run as root.
pub(crate) fn of_user(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("runuser");
    command.args(["-u", user(), "--"]).arg(program);
    command
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut watchdog) = self.watchdog.take() {
            // `wait` closes the watchdog's standard input first.
            let _ = watchdog.wait();
        }
    }
}

/// The directory of initdb and pg_ctl.
pub(crate) fn programs() -> PathBuf {
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&on_path).collect();
    // Debian installs them outside of the path, by version.
    if let Ok(versions) = fs::read_dir("/usr/lib/postgresql") {
        folders.extend(versions.flatten().map(|version| version.path().join("bin")));
    }
    let has = |folder: &PathBuf| folder.join("initdb").exists() && folder.join("pg_ctl").exists();
    folders.into_iter().find(has).unwrap_or_else(|| {
        panic!(
            "no PostgreSQL to test with: install one (Debian: apt-get install postgresql) so \
             that initdb and pg_ctl are found, or set {URL_VARIABLE} to a server where the \
             tests may create databases"
        )
    })
}

pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Debian's package creates the user `postgres`; the user `nobody` exists everywhere.
fn user() -> &'static str {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    if users.lines().any(|line| line.starts_with("postgres:")) {
        "postgres"
    } else {
        "nobody"
    }
}

pub(crate) fn free_port() -> u16 {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

fn run(command: &mut Command) {
    // Into files instead of pipes: the server that pg_ctl starts would keep a pipe open.
    let output = tempfile::NamedTempFile::new().unwrap();
    let status = command
        .stdin(Stdio::null())
        .stdout(output.reopen().unwrap())
        .stderr(output.reopen().unwrap())
        .status()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        status.success(),
        "{command:?}: {status}\n{}",
        text(output.path())
    );
}

fn text(path: &Path) -> String {
    let mut text = String::new();
    let mut file = fs::File::open(path).unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}
