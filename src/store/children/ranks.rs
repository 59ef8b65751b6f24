//! The ranks of segments: sparse, so that segments go between others without new ranks for
//! these.

use std::ops::Range;

use super::{directory::Rank, segment::Segment};

/// Ranks of segments that are added at an end lie this far apart.
const RANK_GAP: Rank = 1 << 32;
/// Where ranks between two segments would come closer than this, more are respread.
const MIN_RANK_GAP: Rank = 1 << 8;

/// Gives ranks to the segments that lack them.
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

/// Ranks for a run that lacks them; where they would stand too close, also for
/// more and more of its neighbours. Answers where the run ended up to end.
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
