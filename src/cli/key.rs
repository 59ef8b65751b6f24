//! `endcap key`: keys by which programs say who they are.

use std::{collections::BTreeSet, io::Write as _, process::ExitCode, time::Duration};

use super::outcome::{Failure, Outcome, say};
use crate::{
    app, auth,
    config::Config,
    domain::{ApiKey, Caller, Scope, Tenants, Timestamp, key},
    store::keys::{self, StoredKey},
};

const HELP: &str = "\
The key is printed to standard output, and never again: only its hash is kept. It works at
once, and with `auth = keys` on all servers of the database.

With --toml nothing is kept: standard output has the lines for a file of keys (keys_file), and
standard error has the key.

Examples:
  endcap key create --label importer --tenant shop --scope collections.write --expires-in 90d
  endcap key create --label browser --tenant shop --scope collections.read --toml >> keys.toml";

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make a key and print it, once
    #[command(after_help = HELP)]
    Create(Create),
    /// List the keys in the database, one a line: id, state, tenants, scopes, expiry, label
    List,
    /// Make a key good for nothing; servers take it for `key_cache_time` at most
    Revoke {
        /// The key's id: what stands between the two underscores
        id: String,
    },
}

/// What a new key is good for.
#[derive(Debug, clap::Args)]
pub(super) struct Create {
    /// What people call it
    #[arg(long, value_name = "TEXT")]
    label: String,
    /// A tenant whose data it is good for; * for all. May be repeated
    #[arg(long = "tenant", value_name = "ID", required = true)]
    tenants: Vec<String>,
    /// What it allows: collections.read, collections.write, admin. May be repeated
    #[arg(long = "scope", value_name = "SCOPE", required = true, value_parser = app::scope)]
    scopes: Vec<Scope>,
    /// For how long it is good, such as 90d; for ever where nothing is said
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    expires_in: Option<Duration>,
    /// Print the lines for a file of keys, and keep nothing in the database
    #[arg(long)]
    toml: bool,
}

pub(super) async fn run(config: &Config, command: Command) -> Outcome {
    let caller = Caller::operator(config.auth.default_tenant.clone()).administering()?;
    match command {
        Command::Create(args) => {
            let (text, key) = make(&args)?;
            if args.toml {
                say(&auth::to_toml(&key));
                // Apart, so that the file does not get it.
                writeln!(std::io::stderr(), "{text}")?;
            } else {
                let store = app::open(&config.database).await?;
                keys::insert(&store, &caller, key).await?;
                store.close().await;
                say(&format!("{text}\n"));
            }
        }
        Command::List => {
            let store = app::open(&config.database).await?;
            let now = Timestamp::now();
            for key in keys::list(&store, &caller).await? {
                say(&line(&key, now));
            }
            store.close().await;
        }
        Command::Revoke { id } => {
            let store = app::open(&config.database).await?;
            let was_good = keys::revoke(&store, &caller, &id).await?;
            store.close().await;
            if !was_good {
                return Err(format!("there is no key {id:?} that is not revoked").into());
            }
            say(&format!("{id} is revoked\n"));
        }
    }
    Ok(ExitCode::SUCCESS)
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
        tenants: Tenants::parse(args.tenants.iter().map(String::as_str))?,
        scopes: args.scopes.iter().copied().collect::<BTreeSet<_>>(),
        expire_time,
    };
    Ok((text, key))
}

fn line(stored: &StoredKey, now: Timestamp) -> String {
    let key = &stored.key;
    let state = if stored.revoke_time.is_some() {
        "revoked"
    } else if key.is_expired(now) {
        "expired"
    } else {
        "good"
    };
    let expiry = key.expire_time.map_or("never".into(), |time| {
        let time = jiff::Timestamp::from_microsecond(time.micros());
        time.map(|time| format!("{time:.0}")).unwrap_or_default()
    });
    let scopes: Vec<_> = key.scopes.iter().map(|scope| scope.name()).collect();
    let (tenants, scopes) = (key.tenants.names().join(","), scopes.join(","));
    // A label may have anything in it; a line stays one.
    let label = key.label.escape_debug();
    format!(
        "{}\t{state}\t{tenants}\t{scopes}\t{expiry}\t{label}\n",
        key.id
    )
}
