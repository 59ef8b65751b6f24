//! Loads the sample catalogue: a small shop, and one long list.

use std::time::Instant;

use serde_json::{Value, json};

use super::{
    client::{Client, LONG},
    names::{grouped, product},
};
use crate::{
    cli::{
        outcome::{Failure, say},
        progress::progress,
    },
    grpc::pb::child_mutation::{Append, Operation},
};

const SHOP: &str = include_str!("catalogue.json");

/// How many products one request appends.
const BATCH: u32 = 20_000;

pub(super) async fn load(client: &Client, products: u32) -> Result<(), Failure> {
    let start = Instant::now();
    shop(client).await?;
    let bar = progress(Some(u64::from(products)), "products");
    let mut next = 0;
    while next < products {
        let end = products.min(next + BATCH);
        let append = Append {
            ids: (next..end).map(product).collect(),
            ..Append::default()
        };
        client.mutate(Operation::Append(append)).await?;
        bar.inc(u64::from(end - next));
        next = end;
    }
    bar.finish_and_clear();
    let seconds = start.elapsed().as_secs_f64();
    say(&format!(
        "Loaded a sample catalogue and {} products into the list of {LONG:?} in {seconds:.1} s, \
         {:.0} products/s.\n",
        grouped(products),
        f64::from(products) / seconds
    ));
    Ok(())
}

async fn shop(client: &Client) -> Result<(), Failure> {
    let shop: Value = serde_json::from_str(SHOP)?;
    let products = json!({"products": shop["products"]});
    client.post("/v1/products:upsert", &products).await?;
    for collection in shop["collections"].as_array().into_iter().flatten() {
        client.post("/v1/collections", collection).await?;
    }
    for (collection, ids) in shop["members"].as_object().into_iter().flatten() {
        let path = format!("/v1/collections/{collection}:mutateChildren");
        let append = json!({
            "childType": "CHILD_TYPE_PRODUCT", "mutations": [{"append": {"ids": ids}}],
        });
        client.post(&path, &append).await?;
    }
    Ok(())
}
