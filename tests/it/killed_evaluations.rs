//! A server that is killed while a job evaluates rules: the next one starts over, and misses no
//! product.

use std::{
    collections::BTreeSet,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use endcap::grpc::pb::{
    self, collection_service_client::CollectionServiceClient,
    product_service_client::ProductServiceClient,
};
use sea_orm::{ConnectionTrait as _, Database, DbBackend, Statement};
use tonic::transport::Channel;

use crate::{
    collections::{cheaper_than, creation, rules},
    harness::{get, named, products},
    postgres,
    program::{Running, endcap, kills, start},
};

const PRODUCTS: u32 = 4_000;
/// All prices are below this.
const DEAREST: u32 = 1_000;

/// A server that evaluates rules in jobs, and not within requests.
fn jobs_only(folder: &Path, database_url: Option<&str>) -> Command {
    let mut command = endcap(folder, database_url);
    command.args(["--max-synchronous-products", "1"]);
    command
}

async fn put(
    client: &mut ProductServiceClient<Channel>,
    numbers: impl Iterator<Item = u32>,
) -> Result<(), tonic::Status> {
    let product = |number| pb::Product {
        id: format!("p{number:05}"),
        title: "Hat".into(),
        prices: vec![pb::ProductPrice {
            id: "only".into(),
            amount: rand::random_range(0..DEAREST).to_string(),
            currency: "EUR".into(),
            ..pb::ProductPrice::default()
        }],
        ..pb::Product::default()
    };
    let request = pb::UpsertProductsRequest {
        products: numbers.map(product).collect(),
        ..pb::UpsertProductsRequest::default()
    };
    client.upsert_products(request).await.map(drop)
}

/// The products that cost less.
async fn cheaper(client: &mut ProductServiceClient<Channel>, limit: u32) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut request = pb::ListProductsRequest {
        page_size: 1_000,
        ..pb::ListProductsRequest::default()
    };
    loop {
        let page = client.list_products(request.clone()).await.unwrap();
        let page = page.into_inner();
        let is_cheap = |it: &pb::Product| it.prices[0].amount.parse::<u32>().unwrap() < limit;
        let cheap = page.products.into_iter().filter(is_cheap);
        found.extend(cheap.map(|product| product.id));
        if page.next_page_token.is_empty() {
            return found;
        }
        request.page_token = page.next_page_token;
    }
}

/// Writes rules, and returns their limit.
async fn write_rules(running: &Running) -> u32 {
    let collections = CollectionServiceClient::connect(running.grpc.clone());
    let limit = rand::random_range(1..DEAREST);
    let request = pb::UpdateCollectionRequest {
        collection: Some(pb::Collection {
            id: "cheap".into(),
            rules: Some(rules(vec![cheaper_than(&limit.to_string())])),
            ..pb::Collection::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["rules".into()],
        }),
        ..pb::UpdateCollectionRequest::default()
    };
    let updated = collections.await.unwrap().update_collection(request).await;
    updated.unwrap();
    limit
}

/// Writes rules, and products while the rules are evaluated, until the program is killed. Returns
/// the limit of the rules.
async fn write_until_killed(mut running: Running) -> u32 {
    let writer = ProductServiceClient::connect(running.grpc.clone());
    let mut writer = writer.await.unwrap();
    let limit = write_rules(&running).await;
    let writing = tokio::spawn(async move {
        loop {
            let some = (0..3).map(|_| rand::random_range(0..PRODUCTS));
            let some: BTreeSet<_> = some.collect();
            if put(&mut writer, some.into_iter()).await.is_err() {
                break;
            }
        }
    });
    let moment = Duration::from_micros(rand::random_range(0..400_000));
    tokio::time::sleep(moment).await;
    running.child.kill().unwrap();
    running.child.wait().unwrap();
    writing.await.unwrap();
    limit
}

/// Waits until the rules are evaluated and the list matches them.
async fn compare(running: &Running, limit: u32) {
    let collections = CollectionServiceClient::connect(running.grpc.clone());
    let catalogue = ProductServiceClient::connect(running.grpc.clone());
    let (mut collections, mut catalogue) = (collections.await.unwrap(), catalogue.await.unwrap());
    let expected = cheaper(&mut catalogue, limit).await;
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let collection = get(&mut collections, "cheap").await.unwrap();
        let state = collection.rules_status.unwrap_or_default().state();
        let list = products(&mut collections, "cheap").await;
        let is_there = |list: Vec<String>| list.into_iter().collect::<BTreeSet<_>>() == expected;
        if state == pb::RulesState::Current && is_there(list) {
            return;
        }
        assert!(Instant::now() < deadline, "{state:?}, the list differs");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A server with products, and with the smart collection `cheap`.
async fn filled(folder: &Path, database_url: Option<&str>) -> Running {
    if database_url.is_some() {
        let migrated = endcap(folder, database_url).arg("migrate").status();
        assert!(migrated.unwrap().success());
    }
    let running = start(jobs_only(folder, database_url));
    let mut catalogue = ProductServiceClient::connect(running.grpc.clone())
        .await
        .unwrap();
    for first in (0..PRODUCTS).step_by(1_000) {
        put(&mut catalogue, first..first + 1_000).await.unwrap();
    }
    let cheap = pb::Collection {
        kind: pb::CollectionKind::Smart.into(),
        rules: Some(rules(vec![cheaper_than("1")])),
        ..named("cheap", "cheap")
    };
    let mut client = CollectionServiceClient::connect(running.grpc.clone())
        .await
        .unwrap();
    client.create_collection(creation(cheap)).await.unwrap();
    running
}

async fn killed_and_restarted(database_url: Option<&str>) {
    let folder = tempfile::tempdir().unwrap();
    let mut running = filled(folder.path(), database_url).await;
    for _ in 0..kills() {
        let limit = write_until_killed(running).await;
        if let Some(url) = database_url {
            // Expires the lease, as if another server had the job.
            let db = Database::connect(url).await.unwrap();
            let ended = db.execute_unprepared("UPDATE jobs SET lease_end = 0").await;
            ended.unwrap();
        }
        running = start(jobs_only(folder.path(), database_url));
        compare(&running, limit).await;
        let check = endcap(folder.path(), database_url).arg("check").output();
        let check = check.unwrap();
        let printed = String::from_utf8_lossy(&check.stdout);
        assert!(check.status.success(), "{printed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_evaluation_killed_on_sqlite_misses_no_product() {
    killed_and_restarted(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_evaluation_killed_on_postgres_misses_no_product() {
    killed_and_restarted(Some(&postgres::new_database().await)).await;
}

/// Another server continues the job immediately.
#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_server_releases_the_lease_of_its_job() {
    let url = postgres::new_database().await;
    let db = Database::connect(&url).await.unwrap();
    let (folder, url) = (tempfile::tempdir().unwrap(), Some(&*url));
    let mut running = filled(folder.path(), url).await;
    for _ in 0..20 {
        let limit = write_rules(&running).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(running.stop());
        let leases = "SELECT lease_end FROM jobs".to_owned();
        let leases = Statement::from_string(DbBackend::Postgres, leases);
        let leases = db.query_all_raw(leases).await.unwrap().into_iter();
        let leases = leases.map(|row| row.try_get_by_index::<i64>(0).unwrap());
        let leases: Vec<_> = leases.collect();
        running = start(jobs_only(folder.path(), url));
        compare(&running, limit).await;
        // The job may have been completed before the shutdown.
        if !leases.is_empty() {
            assert!(leases.iter().all(|end| *end == 0), "{leases:?}");
            return;
        }
    }
    panic!("each job was completed before the server stopped");
}
