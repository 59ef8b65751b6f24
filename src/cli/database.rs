//! How commands open the database that they change, and say which one it is.

use super::outcome::Failure;
use crate::{
    app,
    config::Config,
    store::{DatabasePlace, Store},
};

/// Opens a database that exists: a key in a new one, which no server uses, would be no key. `hint`
/// says what else can be done.
pub(super) async fn existing(config: &Config, hint: &str) -> Result<Store, Failure> {
    if let DatabasePlace::File(file) = &config.database.place
        && !file.exists()
    {
        let name = name(&config.database.place);
        let what = format!(
            "there is no database at {name}: set data_dir or database_url to that of the server{hint}"
        );
        return Err(what.into());
    }
    Ok(app::open(&config.database).await?)
}

/// The whole path of its file, or host, port and name.
pub(super) fn name(place: &DatabasePlace) -> String {
    match place {
        DatabasePlace::File(file) => {
            let whole = std::path::absolute(file).unwrap_or_else(|_| file.clone());
            whole.display().to_string()
        }
        DatabasePlace::Url(_) => place.to_string(),
    }
}
