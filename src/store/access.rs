//! How to connect to a PostgreSQL server: URL, password and TLS. Files with URLs and passwords are
//! reloaded, so that passwords can be rotated while the server runs.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use sea_orm::sqlx::{
    self, ConnectOptions as _, PgPool,
    postgres::{PgConnectOptions, PgSslMode},
};
use tokio::{task::JoinSet, time::sleep};
use tokio_rustls::rustls::Error as TlsError;

use crate::watched::{Unusable, Watched, secret};

/// Everything that is needed to connect to a PostgreSQL database in addition to its URL.
#[derive(Clone, Default)]
pub struct Access {
    /// The file that the URL was read from.
    pub url_file: Option<PathBuf>,
    /// The password, if the URL has none.
    pub password: Option<String>,
    /// The file that the password was read from.
    pub password_file: Option<PathBuf>,
    /// The TLS mode; `None` to use that of the URL.
    pub tls: Option<DatabaseTls>,
    /// CA certificates, in PEM.
    pub ca: Option<PathBuf>,
    /// The client's certificate, in PEM.
    pub client_cert: Option<PathBuf>,
    /// Its private key, in PEM.
    pub client_key: Option<PathBuf>,
    /// How often the files are read again.
    pub reload_interval: Duration,
}

/// The TLS mode of connections to PostgreSQL, as libpq's `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseTls {
    /// Never.
    Disable,
    /// If the server offers it; its certificate is not verified.
    Prefer,
    /// Always; the server's certificate is not verified.
    Require,
    /// Always; the server's certificate must be signed by a trusted CA.
    VerifyCa,
    /// Like `VerifyCa`, and the certificate must be for the host's name.
    VerifyFull,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

impl DatabaseTls {
    /// All modes.
    pub const ALL: [Self; 5] = [
        Self::Disable,
        Self::Prefer,
        Self::Require,
        Self::VerifyCa,
        Self::VerifyFull,
    ];
    /// The names of all modes.
    pub const NAMES: [&'static str; 5] = [
        Self::Disable.name(),
        Self::Prefer.name(),
        Self::Require.name(),
        Self::VerifyCa.name(),
        Self::VerifyFull.name(),
    ];

    /// The name of the mode, as in `sslmode`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }

    /// The mode of a URL, or the driver's default.
    pub fn of_url(url: &str) -> Self {
        let mode = url.parse::<PgConnectOptions>();
        match mode.map(|options| options.get_ssl_mode()) {
            // The driver does not use TLS for `allow`.
            Ok(PgSslMode::Disable | PgSslMode::Allow) => Self::Disable,
            Ok(PgSslMode::Prefer) | Err(_) => Self::Prefer,
            Ok(PgSslMode::Require) => Self::Require,
            Ok(PgSslMode::VerifyCa) => Self::VerifyCa,
            Ok(PgSslMode::VerifyFull) => Self::VerifyFull,
        }
    }

    /// Whether the server's certificate is verified.
    pub fn verifies(self) -> bool {
        matches!(self, Self::VerifyCa | Self::VerifyFull)
    }

    fn mode(self) -> PgSslMode {
        match self {
            Self::Disable => PgSslMode::Disable,
            Self::Prefer => PgSslMode::Prefer,
            Self::Require => PgSslMode::Require,
            Self::VerifyCa => PgSslMode::VerifyCa,
            Self::VerifyFull => PgSslMode::VerifyFull,
        }
    }
}

/// Checks that the driver accepts the URL.
///
/// # Errors
/// With the reason if it does not. The message does not contain the URL.
pub fn check_url(url: &str) -> Result<(), String> {
    let options = url.parse::<PgConnectOptions>();
    options.map(drop).map_err(|error| error.to_string())
}

/// Host (or socket), port and database, for messages.
pub(super) fn place(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or(options.get_username());
    let port = options.get_port();
    match options.get_socket() {
        Some(socket) => format!("{}:{port}/{database}", socket.display()),
        None => format!("{}:{port}/{database}", options.get_host()),
    }
}

/// What is wrong with the server's certificate, if that is why the connection failed.
pub(super) fn certificate_error(error: &sqlx::Error) -> Option<String> {
    let cause = if let sqlx::Error::Io(error) = error {
        error.get_ref()?.downcast_ref()
    } else if let sqlx::Error::Tls(error) = error {
        error.downcast_ref()
    } else {
        None
    };
    if let TlsError::InvalidCertificate(why) = cause? {
        Some(format!(
            "the certificate of the database server is not valid: {why}"
        ))
    } else {
        None
    }
}

/// The current connection options, reloaded from the files.
#[derive(Debug)]
pub(super) struct Connector {
    watched: Watched<PgConnectOptions>,
    first: Arc<PgConnectOptions>,
    interval: Duration,
    is_of_files: bool,
}

impl Connector {
    /// Reads the files. `finish` adds options that do not depend on them.
    pub(super) fn open(
        url: &str,
        access: &Access,
        finish: impl Fn(PgConnectOptions) -> PgConnectOptions + Send + Sync + 'static,
    ) -> Result<Self, Unusable> {
        let files = [&access.url_file, &access.password_file];
        let files: Vec<_> = files.into_iter().flatten().cloned().collect();
        let is_of_files = !files.is_empty();
        let (url, access_) = (url.to_owned(), access.clone());
        let place_now = url.parse().map(|options| place(&options)).ok();
        let parse = move |contents: &[Vec<u8>]| {
            let options = access_.options(&url, contents)?;
            // With two databases in use at once, the data would diverge.
            if place_now
                .as_ref()
                .is_some_and(|now| *now != place(&options))
            {
                return Err("a change of host, port or database needs a restart".into());
            }
            Ok(finish(options))
        };
        let watched = Watched::open(files, Duration::ZERO, parse)?;
        let first = watched.get();
        Ok(Self {
            watched,
            first,
            interval: access.reload_interval,
            is_of_files,
        })
    }

    /// The current options.
    pub(super) fn current(&self) -> Arc<PgConnectOptions> {
        self.watched.get()
    }

    /// The options for the first connections.
    pub(super) fn options(&self) -> Arc<PgConnectOptions> {
        Arc::clone(&self.first)
    }

    /// Starts a task that updates the options of the pool's future connections when the files
    /// change; it ends when the returned set is dropped. Open connections are kept: PostgreSQL
    /// checks the password only once. Returns `None` if nothing comes from files.
    pub(super) fn keep_current(self, pool: &PgPool) -> Option<JoinSet<()>> {
        if !self.is_of_files {
            return None;
        }
        let pool = pool.clone();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut known = self.first;
            loop {
                sleep(self.interval).await;
                let now = self.watched.get();
                if !Arc::ptr_eq(&known, &now) {
                    pool.set_connect_options((*now).clone());
                    known = now;
                }
            }
        });
        Some(task)
    }
}

impl Access {
    /// The options, given the contents of those files that are configured: the URL's first, then
    /// the password's.
    fn options(&self, url: &str, contents: &[Vec<u8>]) -> Result<PgConnectOptions, String> {
        let mut contents = contents.iter();
        let mut read = |file: &Option<PathBuf>| match file {
            Some(_) => contents.next().map(|content| secret(content)).transpose(),
            None => Ok(None),
        };
        let url_now = read(&self.url_file)?.unwrap_or(url);
        let password = read(&self.password_file)?.or(self.password.as_deref());
        let url_now = url_now.replacen("postgresql://", "postgres://", 1);
        let options: PgConnectOptions = url_now
            .parse()
            .map_err(|_| "is not a PostgreSQL URL".to_owned())?;
        let mut options = options
            .disable_statement_logging()
            .application_name("endcap");
        if let Some(password) = password {
            options = options.password(password);
        }
        if let Some(tls) = self.tls {
            options = options.ssl_mode(tls.mode());
        }
        if let Some(ca) = &self.ca {
            options = options.ssl_root_cert(ca);
        }
        if let (Some(cert), Some(key)) = (&self.client_cert, &self.client_key) {
            options = options.ssl_client_cert(cert).ssl_client_key(key);
        }
        Ok(options)
    }
}
