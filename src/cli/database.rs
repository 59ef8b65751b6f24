//! How commands open the database that they change, and name it in their output.

use super::outcome::Failure;
use crate::{
    app,
    config::Config,
    store::{DatabasePlace, Store},
};

/// Opens a database that exists. If a mistyped path created a new one, a key in it would not be
/// known to any server. `hint` is added to the error as advice.
pub(super) async fn existing(config: &Config, hint: &str) -> Result<Store, Failure> {
    if let DatabasePlace::File(file) = &config.database.place
        && !file.exists()
    {
        let name = name(&config.database.place);
        let what = format!(
            "there is no database at {name}: set data_dir or database_url to the server's value{hint}"
        );
        return Err(what.into());
    }
    Ok(app::open(&config.database).await?)
}

/// The absolute path of the file, or host, port and name of the PostgreSQL database.
pub(super) fn name(place: &DatabasePlace) -> String {
    match place {
        DatabasePlace::File(file) => {
            let whole = std::path::absolute(file).unwrap_or_else(|_| file.clone());
            whole.display().to_string()
        }
        DatabasePlace::Url(_) => place.to_string(),
    }
}
