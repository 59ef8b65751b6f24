//! The sender of a request and its authorization, as use cases see them; and the proofs of
//! authorization, without which no use case can access the store.

use std::{collections::BTreeSet, fmt, str::FromStr, sync::Arc, time::Instant};

use super::{CollectionId, Constraint, Error, FieldPath, Reason, Result, TenantId, Violation};

/// The deadline of a request. The server's edge puts it into the request's extensions.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(pub Instant);

/// A permission of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Read collections. Not implied by [`Scope::CollectionsWrite`].
    CollectionsRead,
    /// Create, change and delete collections.
    CollectionsWrite,
    /// Everything, in the tenants of the credential.
    Admin,
}

impl Scope {
    /// The names of all scopes, for messages.
    pub const NAMES: &str = "collections.read, collections.write, admin";

    /// The name of the scope in credentials and settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::CollectionsRead => "collections.read",
            Self::CollectionsWrite => "collections.write",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "collections.read" => Ok(Self::CollectionsRead),
            "collections.write" => Ok(Self::CollectionsWrite),
            "admin" => Ok(Self::Admin),
            _ => Err(format!("{text:?} must be one of {}", Self::NAMES)),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The names of scopes that credentials and settings may use: the scopes' own names, and the
/// equivalents in dialects.
#[derive(Clone, Debug, Default)]
pub struct ScopeNames(Vec<(&'static str, Scope)>);

impl ScopeNames {
    /// The scopes' own names, and `others`.
    pub fn with(others: impl IntoIterator<Item = (&'static str, Scope)>) -> Self {
        Self(others.into_iter().collect())
    }

    /// The scope with this name.
    ///
    /// # Errors
    /// If there is none, with the known names.
    pub fn parse(&self, text: &str) -> std::result::Result<Scope, String> {
        let other = self.0.iter().find(|(name, _)| *name == text);
        other.map_or_else(|| text.parse(), |(_, scope)| Ok(*scope))
    }
}

/// The tenants for which a credential is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tenants {
    /// All tenants.
    All,
    /// These tenants.
    Only(BTreeSet<TenantId>),
}

impl Tenants {
    /// Stands for all tenants in lists of names.
    pub const ALL: &str = "*";

    /// Parses tenant ids. [`Self::ALL`] among them stands for all tenants.
    ///
    /// # Errors
    /// If one is not a valid tenant id.
    pub fn parse<'a>(
        names: impl IntoIterator<Item = &'a str>,
    ) -> std::result::Result<Self, String> {
        let mut only = BTreeSet::new();
        let mut all = false;
        for name in names {
            if name == Self::ALL {
                all = true;
                continue;
            }
            let tenant = TenantId::parse("", name);
            only.insert(tenant.map_err(|violation| format!("{name:?} {}", violation.constraint))?);
        }
        Ok(if all { Self::All } else { Self::Only(only) })
    }

    /// Whether the credential is valid for the tenant.
    pub fn contains(&self, tenant: &TenantId) -> bool {
        match self {
            Self::All => true,
            Self::Only(only) => only.contains(tenant),
        }
    }

    /// The tenant of a request that does not name one: the only one if there is exactly one, else
    /// `default`.
    pub fn home<'a>(&'a self, default: &'a TenantId) -> &'a TenantId {
        match self {
            Self::Only(only) if only.len() == 1 => only.first().unwrap_or(default),
            Self::Only(_) | Self::All => default,
        }
    }

    /// The tenant ids, or [`Self::ALL`].
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::All => vec![Self::ALL],
            Self::Only(only) => only.iter().map(TenantId::as_str).collect(),
        }
    }
}

/// The authenticated identity of a credential's bearer.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The kind and the id of the credential, for logs (`key:1f0c…`).
    pub subject: Arc<str>,
    /// The tenants for which it is valid.
    pub tenants: Tenants,
    /// Its permissions.
    pub scopes: BTreeSet<Scope>,
}

impl Identity {
    /// An identity with all permissions in all tenants.
    pub fn unlimited(subject: &str) -> Self {
        Self {
            subject: subject.into(),
            tenants: Tenants::All,
            scopes: BTreeSet::from([Scope::Admin]),
        }
    }
}

/// The sender of a request, as far as it matters to use cases.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The authenticated identity.
    pub identity: Arc<Identity>,
    /// The tenant of the request. A request never accesses any other tenant's data.
    pub tenant: TenantId,
    /// The tenants that the server serves. Requests for others fail, whatever the credential
    /// allows.
    pub served: Arc<Tenants>,
    /// When the caller stops waiting; no attempt starts after that.
    pub deadline: Option<Instant>,
}

impl Caller {
    /// The operator, who runs the program's commands on the machine with the database and has all
    /// permissions.
    pub fn operator(tenant: TenantId) -> Self {
        Self {
            identity: Arc::new(Identity::unlimited("operator")),
            tenant,
            served: Arc::new(Tenants::All),
            deadline: None,
        }
    }

    /// The same caller, with a request for another tenant.
    #[must_use]
    pub fn within(self, tenant: TenantId) -> Self {
        Self { tenant, ..self }
    }

    /// The same caller, if its request may do without naming a tenant: the credential must be valid
    /// for exactly one.
    ///
    /// # Errors
    /// [`Reason::TenantRequired`] otherwise.
    pub fn home(self) -> Result<Self> {
        match &self.identity.tenants {
            Tenants::Only(only) if only.len() == 1 => Ok(self),
            Tenants::Only(_) | Tenants::All => Err(Error::new(
                Reason::TenantRequired,
                "tenant_id is required: the credential is not for exactly one tenant",
            )),
        }
    }

    /// Checks that the credential is valid for the tenant, and that the server serves the tenant.
    /// This is for protocols that report it explicitly; the proofs check it anyway.
    ///
    /// # Errors
    /// [`Reason::TenantDenied`] if the credential is not valid for the tenant; else
    /// [`Reason::InvalidField`] if the server does not serve it. In this order, a caller without
    /// access to a tenant does not learn whether it is served.
    pub fn check_tenant(&self) -> Result<()> {
        if self.identity.tenants.contains(&self.tenant) {
            return self.check_served();
        }
        Err(Error::new(
            Reason::TenantDenied,
            format!(
                "the credential is not authorized for tenant {:?}",
                self.tenant
            ),
        )
        .with("tenant_id", &self.tenant))
    }

    fn check_served(&self) -> Result<()> {
        if self.served.contains(&self.tenant) {
            return Ok(());
        }
        let constraint = Constraint::NotListed("tenants");
        Err(Violation::new(FieldPath::Tenant, self.tenant.as_str(), constraint).into())
    }

    /// Checks that the caller may read, and returns the proof. For a tenant for which the
    /// credential is not valid, reads see an empty tenant, so that callers cannot find out whether
    /// the tenant exists.
    ///
    /// # Errors
    /// [`Reason::ScopeMissing`] without [`Scope::CollectionsRead`]; [`Reason::InvalidField`] if the
    /// credential is valid for the tenant but the server does not serve it.
    pub fn reading(&self) -> Result<Reading> {
        self.check_scope(Scope::CollectionsRead)?;
        let is_open = match self.check_tenant() {
            Err(error) if error.reason != Reason::TenantDenied => return Err(error),
            checked => checked.is_ok(),
        };
        Ok(Reading {
            tenant: self.tenant.clone(),
            is_open,
        })
    }

    /// Checks that the caller may write, and returns the proof.
    ///
    /// # Errors
    /// [`Reason::ScopeMissing`] without [`Scope::CollectionsWrite`]; [`Reason::TenantDenied`] if
    /// the credential is not valid for the tenant, whether the tenant exists or not.
    pub fn writing(&self) -> Result<Writing> {
        self.check_scope(Scope::CollectionsWrite)?;
        self.check_tenant()?;
        Ok(Writing {
            tenant: self.tenant.clone(),
            subject: Arc::clone(&self.identity.subject),
            deadline: self.deadline,
        })
    }

    /// Checks that the caller may change the collection, and returns the proof.
    ///
    /// # Errors
    /// [`Reason::ScopeMissing`] without [`Scope::CollectionsWrite`]; [`Reason::CollectionNotFound`]
    /// if the credential is not valid for the tenant.
    pub fn writing_to(&self, id: &CollectionId) -> Result<Writing> {
        self.writing().map_err(|error| {
            if error.reason == Reason::TenantDenied {
                Error::collection_not_found(id.as_str())
            } else {
                error
            }
        })
    }

    /// Checks that the caller may do things that concern no tenant or all of them, and returns the
    /// proof.
    ///
    /// # Errors
    /// [`Reason::ScopeMissing`] without [`Scope::Admin`] in all tenants.
    pub fn administering(&self) -> Result<Administering> {
        self.check_scope(Scope::Admin)?;
        match self.identity.tenants {
            Tenants::All => Ok(Administering(())),
            Tenants::Only(_) => Err(missing(Scope::Admin)),
        }
    }

    /// Checks early that the caller has a scope. The use case checks it again.
    ///
    /// # Errors
    /// [`Reason::ScopeMissing`].
    pub fn check_scope(&self, scope: Scope) -> Result<()> {
        let scopes = &self.identity.scopes;
        if scopes.contains(&scope) || scopes.contains(&Scope::Admin) {
            Ok(())
        } else {
            Err(missing(scope))
        }
    }
}

fn missing(scope: Scope) -> Error {
    Error::new(
        Reason::ScopeMissing,
        format!("the credential lacks the scope {scope}"),
    )
    .with("scope", scope)
}

/// The proof that a caller may read. Only [`Caller::reading`] creates it.
#[derive(Debug)]
pub struct Reading {
    tenant: TenantId,
    is_open: bool,
}

impl Reading {
    /// The tenant that the request names.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// The tenant whose rows are read: the one that the request names, or, without access to it,
    /// the empty id, which no tenant has.
    pub fn view(&self) -> TenantId {
        if self.is_open {
            self.tenant.clone()
        } else {
            TenantId::trusted("")
        }
    }
}

/// The proof that a caller may write. Only [`Caller::writing`] creates it.
#[derive(Debug)]
pub struct Writing {
    tenant: TenantId,
    subject: Arc<str>,
    deadline: Option<Instant>,
}

impl Writing {
    /// The identity of the caller, for the audit log and idempotency keys.
    pub fn subject(&self) -> &Arc<str> {
        &self.subject
    }

    /// The tenant whose rows are written.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// When the caller stops waiting.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
}

/// The proof that a caller may do things that concern no tenant or all of them. Only
/// [`Caller::administering`] creates it.
#[derive(Debug)]
pub struct Administering(());

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(tenants: &[&str], scopes: &[Scope]) -> Caller {
        let identity = Identity {
            subject: "test".into(),
            tenants: Tenants::parse(tenants.iter().copied()).unwrap(),
            scopes: scopes.iter().copied().collect(),
        };
        Caller {
            identity: Arc::new(identity),
            ..Caller::operator(TenantId::trusted("a"))
        }
    }

    fn outcome<T>(result: Result<T>) -> Option<Reason> {
        result.err().map(|error| error.reason)
    }

    #[test]
    fn each_permission_requires_its_scope_or_admin() {
        use Scope::{Admin, CollectionsRead, CollectionsWrite};
        let missing = Some(Reason::ScopeMissing);
        for (scopes, read, write, administer) in [
            (&[][..], missing, missing, missing),
            (&[CollectionsRead], None, missing, missing),
            (&[CollectionsWrite], missing, None, missing),
            (&[CollectionsRead, CollectionsWrite], None, None, missing),
            (&[Admin], None, None, None),
        ] {
            let caller = caller(&["*"], scopes);
            assert_eq!(outcome(caller.reading()), read, "{scopes:?}");
            assert_eq!(outcome(caller.writing()), write, "{scopes:?}");
            assert_eq!(outcome(caller.administering()), administer, "{scopes:?}");
        }
    }

    #[test]
    fn an_unauthorized_tenant_reads_as_empty_and_rejects_writes() {
        let caller = caller(&["b", "c"], &[Scope::Admin]);
        assert_eq!(caller.reading().unwrap().view().as_str(), "");
        assert_eq!(outcome(caller.writing()), Some(Reason::TenantDenied));
        let id = CollectionId::trusted("x");
        let not_found = Some(Reason::CollectionNotFound);
        assert_eq!(outcome(caller.writing_to(&id)), not_found);
        assert_eq!(outcome(caller.administering()), Some(Reason::ScopeMissing));
        let within = caller.within(TenantId::trusted("b"));
        assert_eq!(within.reading().unwrap().view().as_str(), "b");
        assert_eq!(within.writing_to(&id).unwrap().tenant().as_str(), "b");
    }

    #[test]
    fn an_unserved_tenant_is_reported_only_to_callers_authorized_for_it() {
        use Scope::{CollectionsRead, CollectionsWrite};
        let scopes = [CollectionsRead, CollectionsWrite];
        let in_tenant = |credential: &str, tenant: &'static str| {
            let caller = Caller {
                served: Arc::new(Tenants::parse(["shop", "b"]).unwrap()),
                ..caller(&[credential], &scopes)
            };
            let caller = caller.within(TenantId::trusted(tenant));
            let view = caller.reading().map(|reading| reading.view().to_string());
            (
                view.map_err(|error| error.to_string()),
                outcome(caller.writing()),
            )
        };
        let denied = Some(Reason::TenantDenied);
        let invalid = (
            Err("the request is invalid".into()),
            Some(Reason::InvalidField),
        );
        assert_eq!(in_tenant("*", "shop"), (Ok("shop".into()), None));
        assert_eq!(in_tenant("*", "shpo"), invalid);
        assert_eq!(in_tenant("shpo", "shpo"), invalid);
        for other in ["shpo", "b"] {
            assert_eq!(in_tenant("shop", other), (Ok(String::new()), denied));
        }
    }

    #[test]
    fn the_tenant_defaults_to_the_only_authorized_one() {
        let default = TenantId::trusted("default");
        let home = |names: &[&str]| {
            let tenants = Tenants::parse(names.iter().copied()).unwrap();
            tenants.home(&default).to_string()
        };
        assert_eq!(home(&["a"]), "a");
        assert_eq!(home(&["a", "b"]), "default");
        assert_eq!(home(&["a", "*"]), "default");
        assert_eq!(home(&[]), "default");
        assert!(Tenants::parse(["a b"]).is_err());
    }

    #[test]
    fn scopes_are_parsed_by_standard_names_and_aliases() {
        let names = ScopeNames::with([("read-only", Scope::CollectionsRead)]);
        for (text, scope) in [
            ("collections.read", Scope::CollectionsRead),
            ("read-only", Scope::CollectionsRead),
            ("collections.write", Scope::CollectionsWrite),
            ("admin", Scope::Admin),
        ] {
            assert_eq!(names.parse(text), Ok(scope));
            assert_eq!(scope.name().parse(), Ok(scope));
            assert!(Scope::NAMES.contains(scope.name()));
        }
        assert!(names.parse("collections").is_err());
        assert!(ScopeNames::default().parse("read-only").is_err());
    }
}
