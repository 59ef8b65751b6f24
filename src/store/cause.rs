//! Why a database cannot be used: what is wrong, what the database or the system says, and what to
//! do about it. This is for the operator of the server; callers of the API see [`Cause::brief`] at
//! most.

use std::fmt;

use sea_orm::{DbErr, RuntimeErr, sqlx};

use super::access;

/// Why a database cannot be used. It has no source: its text says everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    kind: Kind,
    /// The message of the database or the system, or what the problem is about.
    detail: String,
}

/// The kind of problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Unreachable,
    Silent,
    Unavailable,
    ReadOnly,
    Crowded,
    Tls,
    Password,
    Role,
    NoDatabase,
    Rights,
    Pooler,
    Locked,
    Pending,
    TooNew,
    Folder,
    InUse,
    Missing,
    Replaced,
    Damaged,
    NoReplica,
    Other,
}

impl Kind {
    /// A short description of the problem, and what to do about it; the latter is empty if that
    /// depends on the details.
    fn text(self) -> (&'static str, &'static str) {
        match self {
            Self::Unreachable => (
                "the database can't be reached",
                "check that it runs and that database_url names it",
            ),
            Self::Silent => ("the database does not answer", ""),
            Self::Unavailable => ("the database does not accept connections now", ""),
            Self::ReadOnly => (
                "the database refuses writes: it is a standby, or read-only",
                "let database_url name the primary server",
            ),
            Self::Crowded => (
                "the database has no connection left",
                "raise its max_connections, or lower database_max_connections",
            ),
            Self::Tls => (
                "TLS to the database failed",
                "check database_tls, or sslmode in database_url, and the certificates",
            ),
            Self::Password => (
                "the database refuses the password",
                "check the password, and that the role exists: PostgreSQL gives the same error for \
                 an unknown role",
            ),
            Self::Role => (
                "the database refuses the role",
                "create it with LOGIN and allow it in pg_hba.conf, or name another in database_url",
            ),
            Self::NoDatabase => (
                "the database does not exist",
                "create it, or name another in database_url",
            ),
            Self::Rights => (
                "the database role lacks a privilege",
                "docs/operate/postgresql.md lists what each role needs",
            ),
            Self::Pooler => (
                "the connection pooler in front of the database is not set up for Endcap",
                "",
            ),
            Self::Locked => (
                "a table is locked",
                "wait for the transaction that holds the lock, such as a backup's, or end it",
            ),
            Self::Pending => ("migrations are pending", "run `endcap migrate` first"),
            Self::TooNew => (
                "the schema is too new for this version of Endcap",
                "run a newer version, or restore a backup",
            ),
            Self::Folder => (
                "the data directory can't be used",
                "its files must be writable for the user that Endcap runs as",
            ),
            Self::InUse => (
                "the data directory is in use",
                "stop the other process first, or set data_dir to another directory",
            ),
            Self::Missing => (
                "there is no database",
                "set data_dir to the directory that contains it",
            ),
            Self::Replaced => (
                "the database file was removed or replaced",
                "move it back, or stop the server, restore a backup and start again",
            ),
            Self::Damaged => (
                "the database file is damaged or not a database",
                "restore a backup",
            ),
            Self::NoReplica => (
                "the server is not a read replica",
                "set database_read_url to a hot standby of the database, or leave it empty",
            ),
            Self::Other => ("the database failed", ""),
        }
    }

    /// Whether the detail is a complete message of the database that explains the problem.
    fn is_told_by_the_database(self) -> bool {
        matches!(
            self,
            Self::Unavailable
                | Self::Crowded
                | Self::Password
                | Self::Role
                | Self::NoDatabase
                | Self::Rights
        )
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, to_do) = self.kind.text();
        if self.kind.is_told_by_the_database() {
            f.write_str(&self.detail)?;
        } else if self.kind == Kind::Missing {
            write!(f, "{what} at {}", self.detail)?;
        } else {
            write!(f, "{what}: {}", self.detail)?;
        }
        if !to_do.is_empty() {
            write!(f, "; {to_do}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Cause {}

impl Cause {
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { kind, detail }
    }

    /// A short description without hosts, roles and other details, which must not be disclosed to
    /// callers.
    pub fn brief(&self) -> String {
        let (what, _) = self.kind.text();
        if self.kind == Kind::Pending {
            // The names of migrations are not confidential.
            format!("{what}: {}", self.detail)
        } else {
            what.to_owned()
        }
    }

    /// Whether waiting is pointless: another version or another configuration is needed.
    pub fn is_lasting(&self) -> bool {
        matches!(self.kind, Kind::TooNew | Kind::Pooler)
    }

    /// Whether requests must be refused although the database responds: its schema can't be used, or
    /// nothing that is written will be found again.
    pub fn is_refusing(&self) -> bool {
        matches!(self.kind, Kind::TooNew | Kind::Pending | Kind::Replaced)
    }

    /// Whether the problem may be temporary, so that a retry may help without anybody's
    /// intervention.
    pub fn may_pass(&self) -> bool {
        matches!(
            self.kind,
            Kind::Unreachable
                | Kind::Silent
                | Kind::Unavailable
                | Kind::ReadOnly
                | Kind::Crowded
                | Kind::Locked
        )
    }

    /// Whether it is an outage, which ends by itself or when the database's operator acts.
    /// Otherwise the installation is at fault, and requests that hit it get an internal error.
    pub(super) fn is_outage(&self) -> bool {
        !matches!(self.kind, Kind::Rights | Kind::Folder | Kind::Damaged)
    }

    /// The cause of a driver error, if it is more specific than a lost connection.
    pub(super) fn of(error: &DbErr) -> Option<Self> {
        let error = driver(error)?;
        if let sqlx::Error::Configuration(error) = error
            && let Some(cause) = error.downcast_ref::<Self>()
        {
            return Some(cause.clone());
        }
        Self::of_driver(error).or_else(|| Self::of_certificate(error))
    }

    /// Why the database at `place` cannot be connected to or queried.
    pub(super) fn of_connecting(error: &sqlx::Error, place: &str) -> Self {
        let known = Self::of_driver(error).or_else(|| Self::of_certificate(error));
        let mut cause = if let Some(known) = known {
            known
        } else if let sqlx::Error::Io(error) = error {
            Self::new(Kind::Unreachable, error.to_string())
        } else if let sqlx::Error::Tls(error) = error {
            Self::new(Kind::Tls, error.to_string())
        } else {
            Self::new(Kind::Other, error.to_string())
        };
        if cause.kind.is_told_by_the_database() {
            return cause;
        }
        cause.detail = format!("{place}: {}", cause.detail);
        cause
    }

    fn of_certificate(error: &sqlx::Error) -> Option<Self> {
        let why = access::certificate_error(error)?;
        Some(Self::new(Kind::Tls, why))
    }

    fn of_driver(error: &sqlx::Error) -> Option<Self> {
        let error = error.as_database_error()?;
        let code = error.code()?;
        let message = error.message();
        if code.len() < 5 {
            // An SQLite code; extended codes have more information in the upper bits.
            return match code.parse::<u32>().ok()? & 0xff {
                8 | 14 => Some(Self::new(Kind::Folder, message)),
                11 | 26 => Some(Self::new(Kind::Damaged, message)),
                _ => None,
            };
        }
        let kind = match &*code {
            "25006" => Kind::ReadOnly,
            "28P01" => Kind::Password,
            "28000" => Kind::Role,
            "3D000" => Kind::NoDatabase,
            "42501" => Kind::Rights,
            "53300" => Kind::Crowded,
            "55P03" => Kind::Locked,
            "57P03" => Kind::Unavailable,
            code => return pooler(code, message).map(|how| Self::new(Kind::Pooler, how)),
        };
        Some(Self::new(kind, message))
    }
}

/// What to do about an error that only a connection pooler causes.
fn pooler(code: &str, message: &str) -> Option<&'static str> {
    match code {
        // A prepared statement exists already, or does not exist.
        "42P05" | "26000" => {
            Some("if it is in transaction mode, set database_pooler to transaction")
        }
        "08P01" if message.contains("startup parameter") => Some(
            "let it ignore the startup parameters extra_float_digits and, unless \
             database_pooler is transaction, options (ignore_startup_parameters)",
        ),
        _ => None,
    }
}

impl From<DbErr> for Cause {
    fn from(error: DbErr) -> Self {
        Self::of(&error).unwrap_or_else(|| match driver(&error) {
            Some(driver) => Self::new(Kind::Other, driver.to_string()),
            None => Self::new(Kind::Other, error.to_string()),
        })
    }
}

impl From<crate::domain::Error> for Cause {
    fn from(error: crate::domain::Error) -> Self {
        let source = error.source.as_ref();
        let known = source.and_then(|source| source.downcast_ref::<Self>());
        known.cloned().unwrap_or_else(|| {
            let causes = crate::telemetry::causes(&error);
            Self::new(Kind::Other, format!("{error}: {causes}"))
        })
    }
}

/// The driver's error inside an ORM error.
pub(super) fn driver(error: &DbErr) -> Option<&sqlx::Error> {
    if let DbErr::Conn(RuntimeErr::SqlxError(error))
    | DbErr::Exec(RuntimeErr::SqlxError(error))
    | DbErr::Query(RuntimeErr::SqlxError(error)) = error
    {
        Some(error)
    } else {
        None
    }
}
