//! Ten times the load that the server accepts: accepted requests succeed, others are shed with
//! OVERLOADED, both in bounded time, and memory does not grow with the load.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use endcap::grpc::pb::{self, collection_service_client::CollectionServiceClient};
use futures::future::join_all;
use tonic::{Code, transport::Channel};

use crate::{
    collections::reason,
    harness::{append, create, mutate},
    program::{endcap, start},
};

const IN_FLIGHT: usize = 8;
const CLIENTS: usize = 10 * IN_FLIGHT;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Tally {
    accepted: Vec<Duration>,
    shed: Vec<Duration>,
}

/// Reads, and occasionally writes, as fast as the server responds.
async fn press(channel: Channel, number: usize, until: Instant) -> Tally {
    let mut client = CollectionServiceClient::new(channel);
    let mut tally = Tally::default();
    for round in 0.. {
        if Instant::now() >= until {
            break;
        }
        let started = Instant::now();
        let result = if round % 4 == 0 {
            let request = mutate("a", vec![append([format!("{}", round % 100)])]);
            client.mutate_children(request).await.map(drop)
        } else {
            let request = pb::ListChildrenRequest {
                collection_id: "a".into(),
                child_type: pb::ChildType::Product.into(),
                page_size: 100,
                ..pb::ListChildrenRequest::default()
            };
            client.list_children(request).await.map(drop)
        };
        match result {
            Ok(()) => tally.accepted.push(started.elapsed()),
            Err(status) => {
                let told = (status.code(), reason(&status));
                let shed = (Code::Unavailable, "OVERLOADED".into());
                assert_eq!(told, shed, "client {number}: {status:?}");
                tally.shed.push(started.elapsed());
            }
        }
    }
    tally
}

/// The memory of a process, in KiB.
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status"));
    let status = status.unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

fn p99(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() * 99 / 100]
}

async fn overload(duration: Duration) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = endcap(folder.path(), None);
    command.args(["--max-requests-in-flight", &IN_FLIGHT.to_string()]);
    command.args([
        "--request-timeout",
        &format!("{}s", REQUEST_TIMEOUT.as_secs()),
    ]);
    command.args(["--log", "warn,endcap::cli=info,endcap::http::health=info"]);
    let running = start(command);
    let pid = running.child.id();
    let mut channels = Vec::new();
    for _ in 0..8 {
        let endpoint = Channel::from_shared(running.grpc.clone()).unwrap();
        channels.push(endpoint.connect().await.unwrap());
    }
    create(&mut CollectionServiceClient::new(channels[0].clone()), "a").await;

    // A warm-up round for the baseline of the memory, and the measured round.
    let mut before = 0;
    let mut tally = Tally::default();
    for duration in [duration / 5, duration] {
        before = memory(pid);
        let until = Instant::now() + duration;
        let clients = (0..CLIENTS).map(|number| {
            let channel = channels[number % channels.len()].clone();
            tokio::spawn(press(channel, number, until))
        });
        let tallies = join_all(clients).await;
        tally = Tally::default();
        for one in tallies {
            let one = one.unwrap();
            tally.accepted.extend(one.accepted);
            tally.shed.extend(one.shed);
        }
    }
    let after = memory(pid);
    let (accepted, shed) = (tally.accepted.len(), tally.shed.len());
    assert!(accepted > 0 && shed > 0, "{accepted} accepted, {shed} shed");
    let [accepted_p99, shed_p99] = [&mut tally.accepted, &mut tally.shed].map(|times| p99(times));
    eprintln!(
        "{} s: {accepted} accepted, p99 {accepted_p99:?}; {shed} shed, p99 {shed_p99:?}; \
         memory {before} KiB before, {after} KiB after",
        duration.as_secs()
    );
    assert!(accepted_p99 < REQUEST_TIMEOUT);
    assert!(shed_p99 < REQUEST_TIMEOUT);
    assert!(
        after < before + 32 * 1_024,
        "memory: {before} KiB, then {after} KiB"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn at_ten_times_the_load_latency_and_memory_stay_bounded() {
    // Longer in optimized builds, like the soak test.
    let seconds = if cfg!(debug_assertions) { 5 } else { 30 };
    overload(Duration::from_secs(seconds)).await;
}
