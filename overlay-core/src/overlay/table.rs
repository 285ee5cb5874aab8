//! The inode table: numbers to inodes, names to inodes, and the numbers themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use super::inode::{Ino, Inode, ROOT, Upper};
use crate::attr::Attr;
use crate::name::Name;

/// The inodes that the client knows.
///
/// An inode is in the table as long as the client holds references to it ([`Table::refer`], [`Table::forget`]).
/// Where the lock of one map is taken within another's, the order is `links`, `names`, `inodes`.
pub(super) struct Table {
    inodes: DashMap<Ino, Arc<Inode>>,
    names: DashMap<(Ino, Name), Arc<Inode>>,
    /// Upper objects that are known to have, or to get, several names: by device and inode number.
    links: DashMap<(u64, u64), Arc<Inode>>,
    /// The numbers of copies, which they have from what they were copied from.
    copied: DashMap<(u64, u64), Ino>,
    spare: AtomicU64,
    /// For each layer the first one on the same file system: they share its numbers.
    spaces: Vec<usize>,
}

/// Numbers from here on are given to objects whose own number is taken or does not fit.
const SPARE: Ino = 1 << 63;

/// Bits of a number that the layer's own inode number may use; the index of the file system stands above them.
const INO_BITS: u32 = 47;

impl Table {
    pub(super) fn new(root: Arc<Inode>, spaces: Vec<usize>) -> Self {
        root.lookups.store(1, Ordering::SeqCst);
        let inodes = DashMap::new();
        inodes.insert(ROOT, root);
        let (names, links, copied) = (DashMap::new(), DashMap::new(), DashMap::new());
        Self { inodes, names, links, copied, spare: AtomicU64::new(SPARE), spaces }
    }

    /// The inode of a number.
    pub(super) fn inode(&self, ino: Ino) -> Option<Arc<Inode>> {
        self.inodes.get(&ino).map(|entry| entry.value().clone())
    }

    /// The inode that is known under a name.
    pub(super) fn child(&self, parent: Ino, name: &Name) -> Option<Arc<Inode>> {
        // A key of the map must be owned; a clone of a name is a reference count.
        self.names.get(&(parent, name.clone())).map(|entry| entry.value().clone())
    }

    /// Takes a reference to an inode that is in the table; `false` if it has left.
    pub(super) fn refer(&self, inode: &Arc<Inode>) -> bool {
        match self.inodes.get(&inode.ino) {
            Some(entry) if Arc::ptr_eq(entry.value(), inode) => {
                inode.lookups.fetch_add(1, Ordering::SeqCst);
                true
            }
            _ => false,
        }
    }

    /// Puts a new inode under a name with one reference, or takes one of the inode that came first.
    pub(super) fn insert(&self, parent: Ino, name: &Name, make: impl FnOnce(&Self) -> Inode) -> Arc<Inode> {
        match self.names.entry((parent, name.clone())) {
            Entry::Occupied(known) if self.refer(known.get()) => known.get().clone(),
            entry => {
                let inode = self.number(make(self));
                inode.lookups.store(1, Ordering::SeqCst);
                entry.insert(inode.clone());
                inode
            }
        }
    }

    /// As [`Table::insert`] for an upper object with several names: the inode that is known by another of them gets
    /// this one, too. Two inodes for one object would keep two caches of its content.
    pub(super) fn insert_linked(
        &self,
        id: (u64, u64),
        parent: &Arc<Inode>,
        name: &Name,
        make: impl FnOnce(&Self) -> Inode,
    ) -> Arc<Inode> {
        match self.links.entry(id) {
            Entry::Occupied(known) if self.refer(known.get()) => {
                let inode = known.get().clone();
                self.add_name(parent, name, &inode);
                inode
            }
            entry => {
                let inode = self.insert(parent.ino, name, make);
                inode.state_mut().link_id = Some(id);
                entry.insert(inode.clone());
                inode
            }
        }
    }

    /// Gives an inode a number that is free, its own if possible, and puts it into the table.
    fn number(&self, mut inode: Inode) -> Arc<Inode> {
        loop {
            match self.inodes.entry(inode.ino) {
                Entry::Vacant(slot) => {
                    let inode = Arc::new(inode);
                    slot.insert(inode.clone());
                    return inode;
                }
                Entry::Occupied(_) => {}
            }
            inode.ino = self.spare.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Makes a further name of an inode known.
    pub(super) fn add_name(&self, parent: &Arc<Inode>, name: &Name, inode: &Arc<Inode>) {
        {
            let mut state = inode.state_mut();
            if !state.names.iter().any(|(p, n)| p.ino == parent.ino && n == name) {
                state.names.push((parent.clone(), name.clone()));
            }
            if matches!(state.upper, Upper::Orphan(_)) {
                state.upper = Upper::Named;
            }
        }
        // Only now: who finds it by the name relies on its having one.
        self.names.insert((parent.ino, name.clone()), inode.clone());
    }

    /// Takes a name from whatever inode it is known for.
    pub(super) fn remove_name(&self, parent: Ino, name: &Name) -> Option<Arc<Inode>> {
        let (_, inode) = self.names.remove(&(parent, name.clone()))?;
        inode.drop_name(parent, name);
        Some(inode)
    }

    /// All that is known by name: directory, name, inode.
    pub(super) fn named(&self) -> Vec<(Arc<Inode>, Name, Arc<Inode>)> {
        let known = self.names.iter().filter_map(|entry| {
            let (parent, name) = entry.key();
            Some((self.inode(*parent)?, name.clone(), entry.value().clone()))
        });
        known.collect()
    }

    /// Forgets what a name stands for, and leaves the inode as it is for those who use it.
    pub(super) fn unname(&self, parent: Ino, name: &Name) {
        self.names.remove(&(parent, name.clone()));
    }

    /// Records that an upper object may be met under further names.
    pub(super) fn add_link(&self, id: (u64, u64), inode: &Arc<Inode>) {
        inode.state_mut().link_id = Some(id);
        self.links.insert(id, inode.clone());
    }

    /// Drops `count` references of the client; the last one takes the inode out of the table.
    pub(super) fn forget(&self, ino: Ino, count: u64) {
        if ino == ROOT {
            return;
        }
        let gone = self.inodes.remove_if(&ino, |_, inode| {
            let before = inode.lookups.fetch_sub(count, Ordering::SeqCst);
            before <= count
        });
        let Some((_, inode)) = gone else { return };
        let names = inode.state().names.clone();
        for (parent, name) in names {
            self.names.remove_if(&(parent.ino, name), |_, known| Arc::ptr_eq(known, &inode));
        }
        let link = inode.state().link_id;
        if let Some(id) = link {
            self.links.remove_if(&id, |_, known| Arc::ptr_eq(known, &inode));
        }
    }

    /// The number of an object that a layer counts as `ino`: derived from both, so that it is the same whenever
    /// the object is met; from the spare ones where it does not fit.
    pub(super) fn derive(&self, layer: usize, attr_ino: u64, dev: u64) -> Ino {
        if layer == UPPER
            && let Some(ino) = self.copied.get(&(dev, attr_ino))
        {
            return *ino;
        }
        self.number_in(layer, attr_ino)
    }

    /// As [`Table::derive`] for what was not copied up.
    pub(super) fn number_in(&self, layer: usize, attr_ino: u64) -> Ino {
        let layer = self.spaces.get(layer).copied().unwrap_or(layer);
        if attr_ino >> INO_BITS == 0 {
            ((layer as Ino) << INO_BITS) + attr_ino + ROOT
        } else {
            // Numbers that fill all 64 bits (hashes) are folded; a clash gets a spare number.
            let folded = (attr_ino ^ (attr_ino >> INO_BITS)) & ((1 << INO_BITS) - 1);
            ((layer as Ino) << INO_BITS) + folded + ROOT
        }
    }

    /// What stands for a lower object of several names where links are known by device and number: no device has such a
    /// number.
    pub(super) fn identity_below(&self, layer: usize, ino: u64) -> (u64, u64) {
        let space = self.spaces.get(layer).copied().unwrap_or(layer);
        (1 << 62 | space as u64, ino)
    }

    /// Remembers the number of an object that now lies in the upper layer.
    pub(super) fn remember(&self, upper: &Attr, ino: Ino) {
        self.copied.insert((upper.dev, upper.ino), ino);
    }

    /// Whether an upper object is a copy whose number is remembered.
    pub(super) fn was_copied(&self, id: (u64, u64)) -> bool {
        self.copied.contains_key(&id)
    }

    /// The upper object is gone, its number with it.
    pub(super) fn release_number(&self, id: (u64, u64)) {
        self.copied.remove(&id);
        self.links.remove(&id);
    }

    /// How many inodes there are.
    pub(super) fn len(&self) -> usize {
        self.inodes.len()
    }
}

/// How far below the root an inode is known to be.
pub(super) fn known_depth(inode: &Arc<Inode>) -> usize {
    let above = |inode: &Arc<Inode>| inode.first_name().map(|(parent, _)| parent);
    std::iter::successors(above(inode), above).count()
}

/// The index of the upper layer in numbers; lowers follow it.
pub(super) const UPPER: usize = 0;
