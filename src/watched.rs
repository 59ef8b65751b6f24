//! Files that are reloaded when they change: API keys, key sets, certificates, secrets.

use std::{
    fmt,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use sha2::{Digest as _, Sha256};

/// Why files can't be used; the message names them.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(pub String);

type Parse<T> = dyn Fn(&[Vec<u8>]) -> Result<T, String> + Send + Sync;

/// A value parsed from files, which is reloaded when they change.
///
/// Every check reads the files completely, and parses them if their contents have changed. That
/// also detects files that are replaced through a symbolic link, as Kubernetes does. If the new
/// contents can't be parsed, the error is logged and the old value stays in effect.
pub struct Watched<T> {
    paths: Vec<PathBuf>,
    interval: Duration,
    parse: Box<Parse<T>>,
    state: Mutex<State<T>>,
}

struct State<T> {
    value: Arc<T>,
    digest: Option<[u8; 32]>,
    last_check: Instant,
}

impl<T> Watched<T> {
    /// Reads the files. They are checked for changes at most once per `interval`.
    ///
    /// # Errors
    /// If a file can't be read, or `parse` fails.
    pub fn open(
        paths: Vec<PathBuf>,
        interval: Duration,
        parse: impl Fn(&[Vec<u8>]) -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<Self, Unusable> {
        let contents = read(&paths)?;
        let value = parse(&contents).map_err(|why| named(&paths, &why))?;
        let state = State {
            value: Arc::new(value),
            digest: Some(digest(&contents)),
            last_check: Instant::now(),
        };
        Ok(Self {
            paths,
            interval,
            parse: Box::new(parse),
            state: Mutex::new(state),
        })
    }

    /// The current value, at most `interval` out of date.
    pub fn get(&self) -> Arc<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.last_check.elapsed() >= self.interval {
            state.last_check = Instant::now();
            // Blocking is fine here: the files are few and small, and rarely read.
            self.reload_if_changed(&mut state);
        }
        Arc::clone(&state.value)
    }

    fn reload_if_changed(&self, state: &mut State<T>) {
        let contents = match read(&self.paths) {
            Ok(contents) => contents,
            Err(error) => {
                // Logged once, and not on every check.
                if state.digest.take().is_some() {
                    tracing::error!(%error, "reload failed; the previous contents stay in effect");
                }
                return;
            }
        };
        let digest = digest(&contents);
        if state.digest.replace(digest) == Some(digest) {
            return;
        }
        match (self.parse)(&contents) {
            Ok(value) => {
                state.value = Arc::new(value);
                tracing::info!(files = ?self.paths, "reloaded");
            }
            Err(why) => {
                let error = named(&self.paths, &why);
                tracing::error!(%error, "reload failed; the previous contents stay in effect");
            }
        }
    }
}

impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched")
            .field("paths", &self.paths)
            .finish_non_exhaustive()
    }
}

fn read(paths: &[PathBuf]) -> Result<Vec<Vec<u8>>, Unusable> {
    let read = |path: &PathBuf| {
        let read = regular(path, MAX_FILE_BYTES);
        let content = read.map_err(|why| named(std::slice::from_ref(path), &why))?;
        if content.len() as u64 > MAX_FILE_BYTES {
            let why = format!("has over {MAX_FILE_BYTES} bytes");
            return Err(named(std::slice::from_ref(path), &why));
        }
        Ok(content)
    };
    paths.iter().map(read).collect()
}

/// The maximum size of a watched file.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// Reads a regular file, up to one byte over `most`. Other types are rejected: opening a pipe would
/// block until there is a writer, and a second read would find it empty.
fn regular(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let read = || {
        if !std::fs::metadata(path)?.is_file() {
            return Ok(None);
        }
        let mut content = Vec::new();
        File::open(path)?.take(most + 1).read_to_end(&mut content)?;
        Ok(Some(content))
    };
    let content = read().map_err(|error: io::Error| error.to_string())?;
    content.ok_or_else(|| "must be a regular file".into())
}

fn named(paths: &[PathBuf], why: &str) -> Unusable {
    let names: Vec<_> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    Unusable(format!("{}: {why}", names.join(", ")))
}

/// The maximum size of a secret in a file.
const MAX_SECRET_BYTES: usize = 65_536;

/// Reads a secret from a file: one line, without its line break.
///
/// # Errors
/// If it can't be read or is invalid. The message quotes nothing of it.
pub fn read_secret(path: &Path) -> Result<String, String> {
    let content =
        regular(path, MAX_SECRET_BYTES as u64).map_err(|why| format!("can't be read: {why}"))?;
    secret(&content).map(str::to_owned)
}

/// The secret in the contents of a file.
///
/// # Errors
/// If it is invalid. The message quotes nothing of it.
pub fn secret(content: &[u8]) -> Result<&str, String> {
    if content.len() > MAX_SECRET_BYTES {
        return Err(format!("has more than {MAX_SECRET_BYTES} bytes"));
    }
    let text = str::from_utf8(content).map_err(|_| "is not UTF-8")?;
    // Most editors, and `echo`, add a trailing line break.
    let line = text.trim_end_matches(['\r', '\n']);
    if line.is_empty() {
        return Err("is empty".into());
    }
    if line.contains(char::is_control) {
        return Err("must have one line, without control characters".into());
    }
    Ok(line)
}

fn digest(contents: &[Vec<u8>]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for content in contents {
        // With the lengths, so that bytes that move from one file to the next change the digest.
        hash.update((content.len() as u64).to_be_bytes());
        hash.update(content);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(contents: &[Vec<u8>]) -> Result<u32, String> {
        let text = String::from_utf8_lossy(&contents[0]);
        text.parse().map_err(|_| format!("{text:?} is no number"))
    }

    /// Opening a pipe would block until there is a writer.
    #[test]
    fn a_named_pipe_is_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        let make_pipe = || {
            let made = std::process::Command::new("mkfifo").arg(&path).status();
            assert!(made.unwrap().success());
        };
        make_pipe();
        let open = || Watched::open(vec![path.clone()], Duration::ZERO, number);
        let told = "number: must be a regular file";
        assert!(open().unwrap_err().to_string().ends_with(told));
        assert!(read_secret(&path).unwrap_err().contains("a regular file"));
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "1").unwrap();
        let watched = open().unwrap();
        std::fs::remove_file(&path).unwrap();
        make_pipe();
        assert_eq!(*watched.get(), 1);
    }

    #[test]
    fn a_changed_file_is_reloaded_and_an_invalid_one_is_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        let open = || Watched::open(vec![path.clone()], Duration::ZERO, number);
        assert!(open().unwrap_err().to_string().contains("number: "));
        write("x");
        assert!(open().unwrap_err().to_string().contains("is no number"));
        write("1");
        let watched = open().unwrap();
        assert_eq!(*watched.get(), 1);
        write("2");
        assert_eq!(*watched.get(), 2);
        write("x");
        assert_eq!(*watched.get(), 2);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(*watched.get(), 2);
        write("3");
        assert_eq!(*watched.get(), 3);
    }

    #[test]
    fn a_secret_is_one_line_and_is_never_quoted() {
        for text in ["hunter2", "hunter2\n", "hunter2\r\n", "hunter2\n\n"] {
            assert_eq!(secret(text.as_bytes()), Ok("hunter2"));
        }
        assert_eq!(secret(b" a b "), Ok(" a b "));
        let long = "x".repeat(MAX_SECRET_BYTES + 1);
        for odd in ["", "\n", "hunter2\nhunter3", "hunter2\0", &long] {
            let why = secret(odd.as_bytes()).unwrap_err();
            assert!(!why.contains("hunter") && !why.contains("xx"), "{why}");
        }
        assert_eq!(secret(&[0xff]), Err("is not UTF-8".into()));
        assert!(read_secret(Path::new("/nowhere/x")).is_err());
    }

    #[test]
    fn files_are_not_reread_before_the_interval_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        std::fs::write(&path, "1").unwrap();
        let hour = Duration::from_secs(3_600);
        let watched = Watched::open(vec![path.clone()], hour, number).unwrap();
        std::fs::write(&path, "2").unwrap();
        assert_eq!(*watched.get(), 1);
    }
}
