//! Checks the invariants of a stored list (see [`super`]), for `endcap check`.

use super::{directory::Entry, handle::Children, rows};
use crate::domain::Result;

impl Children<'_> {
    /// Checks the invariants of the list and returns a message for each violation: each child is in
    /// exactly one segment and has one member row that says so, the lengths are right, ranks
    /// ascend, and no segment is empty or larger than twice the target.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn problems(self) -> Result<Vec<String>> {
        let directory = self.stored_directory().await?;
        let mut contents = self.all_contents().await?;
        let mut members = self.all_homes().await?;
        let mut problems = out_of_order(&directory);
        for &Entry { id, len, .. } in directory.iter() {
            let ids = contents.remove(&id);
            let ids: Vec<_> = ids.iter().flat_map(|ids| rows::split(ids)).collect();
            let (has, most) = (ids.len(), 2 * self.tx.session().segment_target);
            if has != len {
                problems.push(format!("segment {id}: stored length {len}, actual {has}"));
            }
            if has == 0 || has > most {
                problems.push(format!("segment {id} has {has} ids, not 1 to {most}"));
            }
            for child in ids {
                let home = members.remove(&child);
                if home != Some(id) {
                    let row = match home {
                        Some(home) => format!("its member row names segment {home}"),
                        None => "it has no member row".into(),
                    };
                    problems.push(format!("{child} is in segment {id}; {row}"));
                }
            }
        }
        let lost = contents.keys();
        problems.extend(lost.map(|id| format!("contents of a missing segment {id}")));
        let lost = members.iter();
        problems.extend(lost.map(|(child, home)| {
            format!("{child} is in no segment; its member row names segment {home}")
        }));
        Ok(problems)
    }
}

/// A message for each segment whose rank is not above that of its predecessor.
fn out_of_order(directory: &[Entry]) -> Vec<String> {
    let pairs = directory
        .windows(2)
        .filter(|pair| pair[0].rank >= pair[1].rank);
    let told = pairs.map(|pair| {
        let (Entry { rank: last, .. }, Entry { id, rank, .. }) = (pair[0], pair[1]);
        format!("segment {id} has rank {rank}, which is not above {last}, that of its predecessor")
    });
    told.collect()
}
