//! The gRPC client of a running server, which import and export share.

use std::{error::Error as _, future::Future, path::PathBuf, time::Duration};

use clap::ValueEnum;
use tonic::{
    Code, Request, Response, Status,
    metadata::AsciiMetadataValue,
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use crate::{
    cli::outcome::{Failure, from_here},
    config::Config,
    domain::ChildType,
    grpc::pb::{self, collection_service_client::CollectionServiceClient},
    watched::read_secret,
};

pub(super) type Client = CollectionServiceClient<InterceptedService<Channel, Bearer>>;

/// The environment variables with the credential, or with the path of a file that contains it.
const KEY: &str = "ENDCAP_KEY";
const KEY_FILE: &str = "ENDCAP_KEY_FILE";

/// The timeout for connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The timeout of a call.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Which lists of which server.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Place {
    /// Tenant of the collection [default: the only tenant of the key, or else the default tenant of
    /// the server]
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    pub(super) tenant: String,
    /// List of the collection
    #[arg(long, value_enum, default_value = "products")]
    pub(super) list: List,
    /// URL of the server, http://HOST:PORT or https://HOST:PORT [default: --grpc-addr on this machine]
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// PEM file of CA certificates that the server's certificate must be signed by [default: the
    /// CAs of this machine]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// API key or token for the server. Other users of this machine can see flags: prefer
    /// ENDCAP_KEY or --key-file [env: ENDCAP_KEY]
    #[arg(long, value_name = "KEY", conflicts_with = "key_file")]
    key: Option<String>,
    /// File to read the API key or token from [env: ENDCAP_KEY_FILE]
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

/// Adds the credential to every call.
#[derive(Clone, Debug)]
pub(super) struct Bearer(Option<AsciiMetadataValue>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            let metadata = request.metadata_mut();
            metadata.insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// One of a collection's two child lists, as the command line names it.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum List {
    Products,
    Collections,
}

impl From<List> for ChildType {
    fn from(list: List) -> Self {
        match list {
            List::Products => Self::Product,
            List::Collections => Self::Collection,
        }
    }
}

impl From<List> for pb::ChildType {
    fn from(list: List) -> Self {
        match list {
            List::Products => Self::Product,
            List::Collections => Self::Collection,
        }
    }
}

impl Place {
    pub(super) async fn connect(&self, config: &Config) -> Result<Client, Failure> {
        let scheme = config.listen.tls.as_ref().map_or("http", |_| "https");
        let here = || format!("{scheme}://{}", from_here(config.listen.grpc));
        let url = self.server.clone().unwrap_or_else(here);
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(format!("--server {url}: must begin with http:// or https://").into());
        }
        let unreachable = |source| Unreachable {
            url: url.clone(),
            source,
        };
        let endpoint = Endpoint::from_shared(url.clone()).map_err(unreachable)?;
        let mut endpoint = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT);
        if url.starts_with("https:") {
            endpoint = endpoint.tls_config(self.tls()?).map_err(unreachable)?;
        }
        let channel = endpoint.connect().await.map_err(unreachable)?;
        Ok(Client::new(InterceptedService::new(
            channel,
            self.bearer()?,
        )))
    }

    fn tls(&self) -> Result<ClientTlsConfig, Failure> {
        let Some(path) = &self.ca else {
            return Ok(ClientTlsConfig::new().with_native_roots());
        };
        let pem = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)))
    }

    /// The credential from the flags, or else from the environment.
    fn credential(&self) -> Result<Option<String>, Failure> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let (key, file) = match (&self.key, &self.key_file) {
            (None, None) => (variable(KEY), variable(KEY_FILE).map(PathBuf::from)),
            (key, file) => (key.clone(), file.clone()),
        };
        match (key, file) {
            (Some(_), Some(_)) => {
                Err(format!("{KEY} can't be given together with {KEY_FILE}").into())
            }
            (None, Some(file)) => read_secret(&file)
                .map(Some)
                .map_err(|why| format!("{}: {why}", file.display()).into()),
            (key, None) => Ok(key),
        }
    }

    fn bearer(&self) -> Result<Bearer, Failure> {
        let Some(key) = self.credential()?.filter(|key| !key.is_empty()) else {
            return Ok(Bearer(None));
        };
        let mut value: AsciiMetadataValue = format!("Bearer {key}")
            .parse()
            .map_err(|_| "the key contains invalid characters")?;
        value.set_sensitive(true);
        Ok(Bearer(Some(value)))
    }
}

/// The server can't be reached.
#[derive(Debug, thiserror::Error)]
#[error("can't reach a server at {url}")]
struct Unreachable {
    url: String,
    source: tonic::transport::Error,
}

/// A call failed.
#[derive(Debug, thiserror::Error)]
#[error("{}", told(.0))]
pub(super) struct CallFailed(Status);

/// What is known of a failed call. A status with a source was not sent by the server.
fn told(status: &Status) -> String {
    let message = status.message();
    if status.source().is_none() {
        return format!(
            "the server responded with {}: {message}",
            code_name(status.code())
        );
    }
    let advice = if message.starts_with("h2 protocol error") {
        "; if the server uses TLS, its URL begins with https://"
    } else {
        ""
    };
    format!("the call ended without a response: {message}{advice}")
}

/// Makes a call, and retries it a few times with exponential backoff if there was no response, or
/// if the server asks for a retry. The call must be idempotent.
pub(super) async fn call<T, F>(mut send: impl FnMut() -> F) -> Result<T, CallFailed>
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    const ATTEMPTS: u32 = 5;
    const FIRST_PAUSE: Duration = Duration::from_millis(200);
    let mut attempt = 0;
    loop {
        let status = match send().await {
            Ok(response) => return Ok(response.into_inner()),
            Err(status) => status,
        };
        attempt += 1;
        if attempt == ATTEMPTS || !may_pass(&status) {
            return Err(CallFailed(status));
        }
        tokio::time::sleep(FIRST_PAUSE * 2_u32.pow(attempt)).await;
    }
}

/// Whether a retry may succeed. tonic reports its own timeout as CANCELLED and a broken connection
/// as UNKNOWN; the server itself responds with neither.
fn may_pass(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown
    )
}

/// The code in gRPC's spelling, such as `NOT_FOUND`.
fn code_name(code: Code) -> String {
    let mut name = String::new();
    for c in format!("{code:?}").chars() {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(c.to_ascii_uppercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_codes_have_their_standard_grpc_names() {
        assert_eq!(code_name(Code::NotFound), "NOT_FOUND");
        assert_eq!(code_name(Code::Ok), "OK");
        assert_eq!(code_name(Code::DeadlineExceeded), "DEADLINE_EXCEEDED");
    }
}
