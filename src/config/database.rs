//! The settings of the database, assembled from their raw values.

use std::path::PathBuf;

use super::{
    Problem, Raw,
    database_url::{DatabaseUrl, SSLCERT, SSLKEY, SSLMODE, SSLROOTCERT},
    values::{FileName, Opt},
};
use crate::store::{Access, Database, DatabasePlace, DatabaseTls, ReadReplica};

pub(super) fn database(raw: &Raw, problems: &mut Vec<Problem>) -> Database {
    let place = match &raw.database_url.0 {
        Some(url) => DatabasePlace::Url(url.expose().into()),
        None => DatabasePlace::File(raw.data_dir.join("endcap.db")),
    };
    let access = match &raw.database_url.0 {
        Some(url) => access_to(raw, ("database_url", url), problems),
        None => {
            let set = [
                ("database_read_url", raw.database_read_url.0.is_some()),
                ("database_password", raw.database_password.0.is_some()),
                ("database_tls", raw.database_tls.0.is_some()),
                ("database_tls_ca", raw.database_tls_ca.0.is_some()),
                ("database_tls_cert", raw.database_tls_cert.0.is_some()),
                ("database_tls_key", raw.database_tls_key.0.is_some()),
            ];
            let set = set.into_iter().filter(|(_, is_set)| *is_set);
            // These settings imply PostgreSQL; without its URL, the embedded database would be used
            // silently.
            problems.extend(set.map(|(name, _)| Problem::new(name, "needs database_url")));
            Access::default()
        }
    };
    let replica = raw.database_read_url.0.as_ref();
    // Without `database_url`, `database_read_url` is reported above already.
    let replica = replica.filter(|_| raw.database_url.0.is_some());
    let replica = replica.map(|url| ReadReplica {
        url: url.expose().into(),
        access: access_to(raw, ("database_read_url", url), problems),
        timeout: raw.database_read_timeout.0,
    });
    problems.dedup();
    Database {
        place,
        access,
        pooler: raw.database_pooler.0,
        max_connections: raw.database_max_connections.0 as u32,
        acquire_timeout: raw.database_acquire_timeout.0,
        statement_timeout: None,
        slow_statement: raw.slow_statement.0,
        replica,
    }
}

fn access_to(raw: &Raw, (name, url): (&str, &DatabaseUrl), problems: &mut Vec<Problem>) -> Access {
    if raw.database_password.0.is_some() && url.has_password() {
        let what = format!("{name} also has a password; set only one");
        problems.push(Problem::new("database_password", what));
    }
    let tls = raw.database_tls.0;
    if tls.is_some() && url.parameter(&SSLMODE).is_some() {
        let what = format!("{name} also has an sslmode; set only one");
        problems.push(Problem::new("database_tls", what));
    }
    let mut file = |of, setting: &Opt<FileName>, parameter: &[&str]| {
        let in_url = url.parameter(parameter).map(PathBuf::from);
        let set = setting.0.as_ref().map(|file| file.0.clone());
        if set.is_some() && in_url.is_some() {
            let what = format!("{name} also has an {}; set only one", parameter[0]);
            problems.push(Problem::new(of, what));
        }
        set.or(in_url)
    };
    let ca = file("database_tls_ca", &raw.database_tls_ca, &SSLROOTCERT);
    let cert = file("database_tls_cert", &raw.database_tls_cert, &SSLCERT);
    let key = file("database_tls_key", &raw.database_tls_key, &SSLKEY);
    if cert.is_some() != key.is_some() {
        let what = "must be set together with database_tls_key";
        problems.push(Problem::new("database_tls_cert", what));
    }
    let mode = tls.unwrap_or_else(|| DatabaseTls::of_url(url.expose()));
    if ca.is_some() && !mode.verifies() {
        let what =
            format!("is not used if database_tls is {mode}: set it to verify-full or verify-ca");
        problems.push(Problem::new("database_tls_ca", what));
    }
    Access {
        url_file: raw.files.get(name).cloned(),
        password: raw
            .database_password
            .0
            .as_ref()
            .map(|secret| secret.0.clone()),
        password_file: raw.files.get("database_password").cloned(),
        tls,
        ca,
        client_cert: cert,
        client_key: key,
        reload_interval: raw.reload_interval.0,
    }
}
