//! `endcap export children`: writes a child list to a file.

use std::{
    fs::File,
    io::{self, BufWriter, ErrorKind, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use super::client::{CallFailed, Client, Place, call};
use crate::{
    cli::{
        outcome::{Outcome, say},
        progress::progress,
    },
    config::Config,
    grpc::pb,
};

pub(in crate::cli) const HELP: &str = "\
The list is read page by page. If the collection changes meanwhile, a warning is printed: an id
that was moved may then be missing or at its old position.

Example:
  endcap export children --collection summer --server http://endcap:50051 ids.txt";

/// The page size of the requests.
const PAGE: i32 = 1_000;

/// What to export, and where to.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// File to write, one id per line; - or none for standard output
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Id of the collection
    #[arg(long, value_name = "ID")]
    collection: String,
    #[command(flatten)]
    place: Place,
}

pub(in crate::cli) async fn run(config: &Config, args: &Args) -> Outcome {
    let client = args.place.connect(config).await?;
    // Before the file is created, so that a collection that does not exist does not truncate it.
    let first = page(&client, args, String::new()).await?;
    let file = args.file.as_deref().filter(|path| *path != Path::new("-"));
    let unwritable = |source| Unwritable {
        name: file.map_or("standard output".into(), |path| path.display().to_string()),
        source,
    };
    let output: Box<dyn Write + Send> = match file {
        Some(path) => Box::new(File::create(path).map_err(unwritable)?),
        None => Box::new(io::stdout()),
    };
    match export(&client, args, first, output).await {
        Ok(count) if file.is_some() => say(&format!("{count} ids exported\n")),
        // A reader like `head` has closed the pipe, which is not a failure.
        Err(Stopped::Unwritable(error)) if error.kind() != ErrorKind::BrokenPipe => {
            return Err(unwritable(error).into());
        }
        Err(Stopped::Call(error)) => return Err(error.into()),
        Ok(_) | Err(Stopped::Unwritable(_)) => {}
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, thiserror::Error)]
#[error("{name}: {source}")]
struct Unwritable {
    name: String,
    source: io::Error,
}

/// Why an export ended early.
#[derive(Debug)]
enum Stopped {
    Unwritable(io::Error),
    Call(CallFailed),
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::Unwritable(error)
    }
}

impl From<CallFailed> for Stopped {
    fn from(error: CallFailed) -> Self {
        Self::Call(error)
    }
}

/// Writes all pages, and returns the number of ids.
async fn export(
    client: &Client,
    args: &Args,
    mut page: pb::ListChildrenResponse,
    output: Box<dyn Write + Send>,
) -> Result<u64, Stopped> {
    let mut output = BufWriter::new(output);
    let bar = progress(u64::try_from(page.total_size).ok(), "ids");
    let etag = page.etag.clone();
    let mut count = 0;
    loop {
        for child in &page.children {
            writeln!(output, "{}", child.id)?;
        }
        count += page.children.len() as u64;
        bar.set_position(count);
        if page.next_page_token.is_empty() {
            break;
        }
        page = self::page(client, args, page.next_page_token).await?;
    }
    output.flush()?;
    bar.finish_and_clear();
    if page.etag != etag {
        let _ = writeln!(io::stderr(), "endcap: the collection changed meanwhile");
    }
    Ok(count)
}

async fn page(
    client: &Client,
    args: &Args,
    page_token: String,
) -> Result<pb::ListChildrenResponse, CallFailed> {
    let request = pb::ListChildrenRequest {
        tenant_id: args.place.tenant.clone(),
        collection_id: args.collection.clone(),
        child_type: pb::ChildType::from(args.place.list).into(),
        page_size: PAGE,
        page_token,
        ..pb::ListChildrenRequest::default()
    };
    call(|| {
        let (mut client, request) = (client.clone(), request.clone());
        async move { client.list_children(request).await }
    })
    .await
}
