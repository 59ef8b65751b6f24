//! Varies the target size of segments: with larger segments there are fewer, and each costs more to
//! write.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use endcap::store::Store;
use rand::{SeedableRng as _, rngs::StdRng};

use crate::{Op, ours::Ours, report::time};

/// The operations that depend on the size.
const OPS: [Op; 8] = [
    Op::Move1,
    Op::Move1000,
    Op::MoveHalf,
    Op::Append100,
    Op::Remove100,
    Op::Reorder100,
    Op::Page50,
    Op::PlaceOfId,
];

/// Prints a table with a row per size and the medians of the use cases.
pub(crate) async fn run(
    store: &Store,
    n: u64,
    targets: &[usize],
    statements: &Arc<AtomicU64>,
    budget: Duration,
) {
    println!("\n### Segments at {n}, {:?}\n", store.engine());
    let names: Vec<_> = OPS.iter().map(|op| op.name()).collect();
    println!("| ids in a segment | {} | load, ids/s |", names.join(" | "));
    println!("{}|", "|---".repeat(OPS.len() + 2));
    for &target in targets {
        let store = store.clone().with_segment_target(target);
        let name = format!("n{n}s{target}");
        let ours = Ours::load(store, name, n, Arc::clone(statements)).await;
        let mut random = StdRng::seed_from_u64(n);
        let mut line = format!("| {target} |");
        for op in OPS {
            let cells = ours.run(op, &mut random, budget).await;
            line.push_str(&format!(" {} |", time(cells[0].1.median)));
        }
        let rate = n as f64 / ours.loaded.as_secs_f64();
        println!("{line} {rate:.0} |");
    }
}
