//! Assigns the ranks of segments. Ranks are sparse, so that segments can be inserted between others
//! without changing the ranks of these.

use std::ops::Range;

use super::{directory::Rank, segment::Segment};

/// The distance between the ranks of segments that are added at either end.
const RANK_GAP: Rank = 1 << 32;
/// The smallest distance between new ranks. If there is less room, neighbours get new ranks, too.
const MIN_RANK_GAP: Rank = 1 << 8;

/// Assigns ranks to the segments that have none.
pub(super) fn give_ranks(segments: &mut [Segment]) {
    let mut at = 0;
    while at < segments.len() {
        if segments[at].rank.is_some() {
            at += 1;
            continue;
        }
        let run = segments[at..].iter();
        let run = run.take_while(|s| s.rank.is_none()).count();
        at = rank_run(segments, at..at + run);
    }
}

/// Assigns ranks to a run of segments that have none. If there is too little room, more and more
/// neighbours are included. Returns the end of the run that got ranks.
fn rank_run(segments: &mut [Segment], mut run: Range<usize>) -> usize {
    let (first, step) = loop {
        let before = run.start.checked_sub(1).and_then(|at| segments[at].rank);
        let after = segments.get(run.end).and_then(|s| s.rank);
        let size = run.len() as Rank;
        match (before, after) {
            (None, None) => break (0, RANK_GAP),
            (Some(before), None) => break (before.saturating_add(RANK_GAP), RANK_GAP),
            (None, Some(after)) => {
                break (
                    after.saturating_sub(RANK_GAP.saturating_mul(size)),
                    RANK_GAP,
                );
            }
            (Some(before), Some(after)) => {
                let step = (after - before) / (size + 1);
                if step >= MIN_RANK_GAP {
                    break (before + step, step);
                }
                // The run grows geometrically, so few attempts are needed.
                let more = run.len();
                run.start = run.start.saturating_sub(more);
                run.end = (run.end + more).min(segments.len());
            }
        }
    };
    let mut rank = first;
    for segment in &mut segments[run.clone()] {
        segment.rank = Some(rank);
        segment.reranked = true;
        rank = rank.saturating_add(step);
    }
    run.end
}
