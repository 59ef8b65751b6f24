//! `endcap key`: manages the API keys in the database.

use std::{collections::BTreeSet, io::Write as _, process::ExitCode, time::Duration};

use serde_json::{Value, json};

use super::{
    database,
    outcome::{Failure, Outcome, note, say},
    output::Output,
};
use crate::{
    app, auth,
    config::Config,
    domain::{Administering, ApiKey, Caller, Constraint, Scope, Tenants, Timestamp, key},
    store::keys::{self, StoredKey},
};

const HELP: &str = "\
The key is printed to standard output only once, because only its hash is stored. It is valid at
once, on all servers that use the database and have keys among their authentication methods. The
command prints to standard error which database it wrote to. It creates the embedded database only
with --create-database.

With --toml nothing is stored: the lines for a file of API keys (keys_file) are printed to standard
output, and the key to standard error.

Examples:
  endcap key create --label importer --tenant shop --scope collections.write --expires-in 90d
  endcap key create --label browser --tenant shop --scope collections.read --toml >> keys.toml";

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Create an API key and print it; it can't be shown again
    #[command(after_help = HELP)]
    Create(Create),
    /// List the API keys in the database, one per line: id, state, tenants, scopes, expiry, label
    List(Output),
    /// Revoke an API key; servers may accept it for up to key_cache_time more
    Revoke {
        /// Id of the key: the part between the two underscores
        id: String,
        #[command(flatten)]
        output: Output,
    },
}

/// What a new key allows.
#[derive(Debug, clap::Args)]
pub(super) struct Create {
    /// Description of the key
    #[arg(long, value_name = "TEXT")]
    label: String,
    /// Tenant that the key is authorized for; * for all. May be repeated
    // Not `tenants`: that is a setting.
    #[arg(long, value_name = "ID", required = true)]
    tenant: Vec<String>,
    /// Scope of the key: collections.read, collections.write or admin. May be repeated
    #[arg(long = "scope", value_name = "SCOPE", required = true, value_parser = app::scope)]
    scopes: Vec<Scope>,
    /// Lifetime of the key, such as 90d; without it the key never expires
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    expires_in: Option<Duration>,
    /// Print the lines for a file of API keys, and store nothing in the database
    #[arg(long, conflicts_with = "output")]
    toml: bool,
    /// Create the embedded database if it does not exist
    #[arg(long, conflicts_with = "toml")]
    create_database: bool,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(config: &Config, command: Command) -> Outcome {
    let caller = Caller::operator(config.auth.default_tenant.clone()).administering()?;
    match command {
        Command::Create(args) => create(config, &caller, &args).await?,
        Command::List(output) => {
            let store = database::existing(config, "").await?;
            let keys = keys::list(&store, &caller).await?;
            store.close().await;
            let now = Timestamp::now();
            let lines: String = keys.iter().map(|key| line(key, now)).collect();
            let keys: Vec<_> = keys.iter().map(|key| json(key, now)).collect();
            output.print(&lines, &json!({"keys": keys}));
        }
        Command::Revoke { id, output } => {
            let store = database::existing(config, "").await?;
            let was_active = keys::revoke(&store, &caller, &id).await?;
            store.close().await;
            let place = database::name(&config.database.place);
            if !was_active {
                let what = format!("key {id:?} is unknown or already revoked in {place}");
                return Err(what.into());
            }
            output.print(
                &format!("{id} is revoked\n"),
                &json!({"id": id, "state": "revoked", "database": place}),
            );
            note(&format!("in the database {place}\n"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn create(config: &Config, caller: &Administering, args: &Create) -> Result<(), Failure> {
    let (text, key) = make(args)?;
    check_served(&key.tenants, &config.auth.served)?;
    if args.toml {
        say(&auth::to_toml(&key));
        // On standard error, so that redirecting the output to a key file does not store the key.
        writeln!(std::io::stderr(), "{text}")?;
        return Ok(());
    }
    let store = if args.create_database {
        app::open(&config.database).await?
    } else {
        database::existing(config, ", or create it with --create-database").await?
    };
    let place = database::name(&config.database.place);
    let (id, mut json) = (key.id.clone(), fields(&key));
    json["key"] = text.as_str().into();
    json["database"] = place.as_str().into();
    keys::insert(&store, caller, key).await?;
    store.close().await;
    args.output.print(&format!("{text}\n"), &json);
    note(&format!("key {id} is in the database {place}\n"));
    Ok(())
}

/// Fails if the key is for a tenant that the setting `tenants` does not list, which is most likely
/// mistyped.
fn check_served(tenants: &Tenants, served: &Tenants) -> Result<(), Failure> {
    let Tenants::Only(named) = tenants else {
        return Ok(());
    };
    match named.iter().find(|tenant| !served.contains(tenant)) {
        None => Ok(()),
        Some(tenant) => {
            let constraint = Constraint::NotListed("tenants");
            Err(format!("--tenant: {:?} {constraint}", tenant.as_str()).into())
        }
    }
}

fn make(args: &Create) -> Result<(String, ApiKey), Failure> {
    let (text, id) = key::generate();
    let expire_time = args.expires_in.map(|time| {
        let micros = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(Timestamp::now().micros().saturating_add(micros))
    });
    let key = ApiKey {
        id,
        label: args.label.clone(),
        hash: key::hash(&text),
        tenants: Tenants::parse(args.tenant.iter().map(String::as_str))?,
        scopes: args.scopes.iter().copied().collect::<BTreeSet<_>>(),
        expire_time,
    };
    Ok((text, key))
}

fn state(stored: &StoredKey, now: Timestamp) -> &'static str {
    if stored.revoke_time.is_some() {
        "revoked"
    } else if stored.key.is_expired(now) {
        "expired"
    } else {
        "active"
    }
}

/// In UTC, rounded to seconds.
fn rfc3339(time: Timestamp) -> String {
    let time = jiff::Timestamp::from_microsecond(time.micros());
    time.map(|time| format!("{time:.0}")).unwrap_or_default()
}

fn line(stored: &StoredKey, now: Timestamp) -> String {
    let key = &stored.key;
    let state = state(stored, now);
    let expiry = key.expire_time.map_or("never".into(), rfc3339);
    let scopes: Vec<_> = key.scopes.iter().map(|scope| scope.name()).collect();
    let (tenants, scopes) = (key.tenants.names().join(","), scopes.join(","));
    // Escaped, so that line breaks in a label don't break the output.
    let label = key.label.escape_debug();
    format!(
        "{}\t{state}\t{tenants}\t{scopes}\t{expiry}\t{label}\n",
        key.id
    )
}

/// The fields of a key as JSON, without the key itself.
fn fields(key: &ApiKey) -> Value {
    let scopes: Vec<_> = key.scopes.iter().map(|scope| scope.name()).collect();
    json!({
        "id": key.id, "label": key.label, "tenants": key.tenants.names(), "scopes": scopes,
        "expire_time": key.expire_time.map(rfc3339),
    })
}

fn json(stored: &StoredKey, now: Timestamp) -> Value {
    let mut json = fields(&stored.key);
    json["state"] = state(stored, now).into();
    json["create_time"] = rfc3339(stored.create_time).into();
    json["revoke_time"] = stored.revoke_time.map(rfc3339).into();
    json
}
