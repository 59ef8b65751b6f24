use std::{
    process::Command,
    time::{Duration, Instant},
};

use endcap::grpc::pb::{self, collection_service_client::CollectionServiceClient};
use tonic::{Code, Status, transport::Channel};

use crate::{
    collections::reason,
    harness::{append, create, mutate, products},
    program::{endcap, start},
};

async fn fill(client: &mut CollectionServiceClient<Channel>) -> Status {
    for round in 0..1_000 {
        let ids = (0..1_000).map(|id| format!("{round}-{id}-{}", "x".repeat(20)));
        if let Err(status) = client.mutate_children(mutate("a", vec![append(ids)])).await {
            return status;
        }
    }
    panic!("the disk never becomes full");
}

/// The same command, with a limit on the size of files in blocks of 512 bytes: writes beyond it
/// fail as on a full disk.
pub(crate) fn limited(served: &Command, blocks: u32) -> Command {
    // The signal is ignored, also after exec, so the write itself fails.
    let script = format!("trap '' XFSZ; ulimit -S -f {blocks}; exec \"$0\" \"$@\"");
    let mut limited = Command::new("sh");
    limited.args(["-c", &script]);
    limited.arg(served.get_program()).args(served.get_args());
    limited
}

/// Files of the server may grow to 2 MiB.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_rejects_writes_but_not_reads_until_there_is_space() {
    let folder = tempfile::tempdir().unwrap();
    let served = endcap(folder.path(), None);
    let running = start(limited(&served, 4_096));
    let mut client = CollectionServiceClient::connect(running.grpc.clone())
        .await
        .unwrap();
    create(&mut client, "a").await;
    create(&mut client, "small").await;
    let small = mutate("small", vec![append(["first"])]);
    client.mutate_children(small).await.unwrap();

    let status = fill(&mut client).await;
    let told = (status.code(), reason(&status));
    assert_eq!(
        told,
        (Code::Unavailable, "STORAGE_FULL".into()),
        "{status:?}"
    );
    assert!(status.message().contains("disk"), "{status:?}");

    let list = products(&mut client, "a").await;
    assert!(list.len() % 1_000 == 0, "no write is partially applied");
    let read = pb::GetCollectionRequest {
        key: Some(pb::get_collection_request::Key::CollectionId(
            "small".into(),
        )),
        ..pb::GetCollectionRequest::default()
    };
    client.get_collection(read).await.unwrap();

    let pid = running.child.id().to_string();
    let raised = Command::new("prlimit")
        .args(["--pid", &pid, "--fsize=unlimited"])
        .status();
    assert!(raised.unwrap().success());
    let deadline = Instant::now() + Duration::from_secs(60);
    let more = mutate("small", vec![append(["second"])]);
    while let Err(status) = client.mutate_children(more.clone()).await {
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert!(Instant::now() < deadline, "{status:?}");
    }
    assert_eq!(products(&mut client, "small").await, ["first", "second"]);
    assert_eq!(products(&mut client, "a").await, list);
}
