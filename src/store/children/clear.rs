//! Deletes a list in parts.

use super::{
    list::Difference,
    lists::Lists,
    raw::{self, Each},
    rows,
};
use crate::{
    domain::{ChildId, CollectionId, Result},
    store::tx::Tx,
};

/// Deletes some segments of a list with their children, about `count` of them. Returns whether
/// there may be more.
///
/// # Errors
/// If the database fails.
pub(in crate::store) async fn clear_some(
    tx: &Tx,
    id: &CollectionId,
    list: Lists,
    count: usize,
) -> Result<bool> {
    let mut directories = rows::directories(tx, list, &[id]).await?;
    let directory = directories.remove(id).unwrap_or_default();
    let mut len = 0;
    let some = directory.iter().take_while(|segment| {
        let is_first = len == 0;
        len += segment.len;
        is_first || len <= count
    });
    let some: Vec<_> = some.map(|segment| segment.id).collect();
    if some.is_empty() {
        return Ok(false);
    }
    let wanted = Each::from([(id.as_str(), some.as_slice())]);
    let contents = raw::contents(tx, list, &wanted).await?;
    let children = contents.values().flat_map(|segments| segments.values());
    let removed = children.flatten().map(ChildId::as_str).collect();
    let difference = Difference {
        dropped: some,
        removed,
        ..Difference::default()
    };
    raw::write(tx, list, &[(id, difference)])?;
    Ok(true)
}
