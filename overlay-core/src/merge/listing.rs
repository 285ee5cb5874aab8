//! The listing fold: the listings of a directory's layers become one, each name once.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use crate::attr::Kind;
use crate::entry::ListEntry;
use crate::name::Name;

/// A row of the merged listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The name.
    pub name: Name,
    /// What the topmost layer that has the name holds.
    pub kind: Kind,
    /// That layer.
    pub layer: usize,
    /// The inode number there.
    pub ino: u64,
}

/// The fold: give it each layer's listing, topmost first.
#[derive(Debug, Default)]
pub struct Fold {
    seen: HashMap<Name, ()>,
    rows: Vec<Row>,
}

impl Fold {
    /// Adds the listing of `layer`. A name that a layer above holds or deletes is passed over.
    pub fn add(&mut self, layer: usize, entries: Vec<ListEntry>) {
        for entry in entries {
            if let Slot::Vacant(slot) = self.seen.entry(entry.name.clone()) {
                slot.insert(());
                if !entry.whiteout {
                    self.rows.push(Row { name: entry.name, kind: entry.kind, layer, ino: entry.ino });
                }
            }
        }
    }

    /// The merged rows, those of upper layers first.
    pub fn rows(self) -> Vec<Row> {
        self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, ino: u64, whiteout: bool) -> ListEntry {
        ListEntry { name: Name::new(name).unwrap(), kind: Kind::File, ino, whiteout }
    }

    #[test]
    fn upper_names_hide_lower_ones_and_whiteouts_hide_without_showing() {
        let mut fold = Fold::default();
        fold.add(0, vec![entry("a", 1, false), entry("gone", 2, true)]);
        fold.add(1, vec![entry("a", 3, false), entry("gone", 4, false), entry("b", 5, false)]);
        fold.add(2, vec![entry("gone", 6, false), entry("b", 7, true), entry("c", 8, false)]);
        let rows: Vec<_> = fold.rows().into_iter().map(|r| (r.name.to_string(), r.layer, r.ino)).collect();
        assert_eq!(rows, [("a".into(), 0, 1), ("b".into(), 1, 5), ("c".into(), 2, 8)]);
    }
}
