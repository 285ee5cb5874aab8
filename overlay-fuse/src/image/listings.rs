//! Listings of directories that are being read. The kernel reads them in pieces, without saying when it begins or ends.

use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use overlay_core::entry::ListEntry;

/// Listings that were asked for lately. They are sorted, so that one that was dropped and made again goes on where
/// the first one stopped.
pub(super) struct Listings(Mutex<Held>);

struct Held {
    lists: LruCache<u64, Arc<[ListEntry]>>,
    rows: usize,
}

/// Rows that are kept, over all listings but the latest.
const ROWS: usize = 100_000;

impl Listings {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Held { lists: LruCache::unbounded(), rows: 0 }))
    }

    /// The listing of a directory, if it is still there.
    pub(super) fn get(&self, ino: u64) -> Option<Arc<[ListEntry]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).lists.get(&ino).cloned()
    }

    /// Keeps a listing, and no more than there is room for.
    pub(super) fn keep(&self, ino: u64, mut rows: Vec<ListEntry>) -> Arc<[ListEntry]> {
        rows.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let rows: Arc<[ListEntry]> = rows.into();
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.rows += rows.len();
        if let Some(before) = held.lists.put(ino, rows.clone()) {
            held.rows -= before.len();
        }
        while held.rows > ROWS && held.lists.len() > 1 {
            let Some((_, oldest)) = held.lists.pop_lru() else { break };
            held.rows -= oldest.len();
        }
        rows
    }

    /// Drops the listing of a directory that nobody knows any more.
    pub(super) fn drop(&self, ino: u64) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rows) = held.lists.pop(&ino) {
            held.rows -= rows.len();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "in a test a failure is a panic")]
mod tests {
    use super::*;
    use overlay_core::Name;
    use overlay_core::attr::Kind;

    fn rows(count: usize) -> Vec<ListEntry> {
        let row = |i: usize| {
            let name = Name::new(format!("{:07}", count - i)).unwrap();
            ListEntry { name, kind: Kind::File, ino: i as u64, whiteout: false }
        };
        (0..count).map(row).collect()
    }

    #[test]
    fn listings_are_sorted_and_the_oldest_go_first() {
        let listings = Listings::new();
        let kept = listings.keep(1, rows(ROWS / 2));
        assert!(kept.is_sorted_by_key(|row| row.name.clone()));
        listings.keep(2, rows(ROWS / 2));
        listings.keep(2, rows(ROWS / 2));
        assert!(listings.get(1).is_some(), "there is room for two");
        listings.keep(3, rows(1));
        assert!(listings.get(2).is_none() && listings.get(1).is_some());
        listings.keep(4, rows(2 * ROWS));
        assert!(listings.get(4).is_some(), "one alone is kept however long");
        listings.drop(4);
        assert_eq!(listings.0.lock().unwrap().rows, 0);
    }
}
