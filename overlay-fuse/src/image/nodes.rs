//! The objects of an image that the kernel knows, by the number under which they are served.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry as Slot;
use overlay_core::attr::Attr;
use overlay_core::entry::Entry;
use overlay_core::layer::Dir;
use overlay_core::name::Name;
use tokio::sync::OnceCell;

use super::disk::{Marks, ROOT, SPARE_FIRST, WHITEOUT, number, whiteout};

/// An object. A lower does not change, so what was once found is kept.
pub(super) struct Node {
    /// Its attributes, with the number under which it is served.
    pub(super) attr: Attr,
    pub(super) marks: Marks,
    pub(super) place: Place,
    /// The number of the directory that it was found in.
    pub(super) parent: u64,
    /// Who it is in its layer: device and inode number.
    id: (u64, u64),
    /// The handle of a directory, once it was needed.
    pub(super) dir: OnceCell<Arc<dyn Dir>>,
    lookups: AtomicU64,
}

/// Where an object is.
pub(super) enum Place {
    Root,
    Child(Arc<dyn Dir>, Name),
    Whiteout,
}

/// The nodes that the kernel holds references to, and those of all times whose number was taken.
pub(super) struct Nodes {
    known: DashMap<u64, Arc<Node>>,
    /// Numbers of objects whose own was another's; kept, so that they stay the same.
    moved: DashMap<(u64, u64), u64>,
    spare: AtomicU64,
}

impl Nodes {
    /// With the root of a layer.
    pub(super) fn new(root: Arc<dyn Dir>, attr: Attr) -> Self {
        let id = (attr.dev, attr.ino);
        let attr = Attr { ino: ROOT, ..attr };
        let node = Node::new(attr, Marks::default(), Place::Root, ROOT, id, OnceCell::new_with(Some(root)));
        let known = DashMap::new();
        known.insert(ROOT, Arc::new(node));
        Self { known, moved: DashMap::new(), spare: AtomicU64::new(SPARE_FIRST) }
    }

    /// The node of a number.
    pub(super) fn get(&self, ino: u64) -> Option<Arc<Node>> {
        self.known.get(&ino).map(|node| node.value().clone())
    }

    /// The node of an object that was found under `name`, with one more reference of the kernel.
    pub(super) fn enter(&self, parent: u64, dir: &Arc<dyn Dir>, name: &Name, entry: Entry) -> Arc<Node> {
        let id = (entry.attr.dev, entry.attr.ino);
        let mut ino = self.moved.get(&id).map_or_else(|| number(id.1), |moved| *moved);
        loop {
            match self.known.entry(ino) {
                Slot::Occupied(known) if known.get().id == id => return known.get().refer(),
                Slot::Occupied(_) => {}
                Slot::Vacant(slot) => {
                    let marks = Marks::of(&entry);
                    let attr = Attr { ino, ..entry.attr };
                    let place = Place::Child(dir.clone(), name.clone());
                    let node = Arc::new(Node::new(attr, marks, place, parent, id, OnceCell::new()));
                    return slot.insert(node).refer();
                }
            }
            ino = *self.moved.entry(id).or_insert_with(|| self.spare.fetch_add(1, Ordering::Relaxed));
        }
    }

    /// The node of all whiteouts, with one more reference.
    pub(super) fn enter_whiteout(&self) -> Arc<Node> {
        let make = || {
            let id = (u64::MAX, WHITEOUT);
            Arc::new(Node::new(whiteout(), Marks::default(), Place::Whiteout, ROOT, id, OnceCell::new()))
        };
        self.known.entry(WHITEOUT).or_insert_with(make).refer()
    }

    /// Takes references back; with the last one the node goes, which is the answer.
    pub(super) fn forget(&self, ino: u64, count: u64) -> bool {
        let is_last = |_: &u64, node: &Arc<Node>| node.lookups.fetch_sub(count, Ordering::SeqCst) <= count;
        ino != ROOT && self.known.remove_if(&ino, is_last).is_some()
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.known.len()
    }
}

impl Node {
    fn new(
        attr: Attr,
        marks: Marks,
        place: Place,
        parent: u64,
        id: (u64, u64),
        dir: OnceCell<Arc<dyn Dir>>,
    ) -> Self {
        Self { attr, marks, place, parent, id, dir, lookups: AtomicU64::new(0) }
    }

    /// To be called where the table cannot change: a reference to a node that has left it is none.
    fn refer(self: &Arc<Self>) -> Arc<Self> {
        self.lookups.fetch_add(1, Ordering::SeqCst);
        self.clone()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "in a test a failure is a panic")]
mod tests {
    use super::*;
    use overlay_core::attr::{Kind, Time};
    use overlay_core::conformance::block_on;
    use overlay_core::memory::MemoryLayer;
    use overlay_core::{Layer, Name};

    fn nodes() -> (Nodes, Arc<dyn Dir>) {
        let root = block_on(MemoryLayer::builder("m").build().unwrap().root()).unwrap();
        (Nodes::new(root.clone(), Attr::new(Kind::Dir, 5, 0o755, 0, Time::default())), root)
    }

    fn file(dev: u64, ino: u64) -> Entry {
        Entry::plain(Attr { dev, ..Attr::new(Kind::File, ino, 0o644, 0, Time::default()) })
    }

    #[test]
    fn numbers_stay_the_same_when_the_kernel_forgets_and_asks_again() {
        let (nodes, dir) = nodes();
        let enter = |name: &str, entry| nodes.enter(ROOT, &dir, &Name::new(name).unwrap(), entry).attr.ino;
        assert_eq!(enter("a", file(0, 9)), 9);
        let clash = enter("b", file(1, 9));
        assert_ne!(clash, 9, "another object of that number");
        assert_eq!(enter("hard link", file(0, 9)), 9);
        nodes.forget(9, 2);
        nodes.forget(clash, 1);
        assert_eq!(nodes.len(), 1, "the root alone");
        assert_eq!(enter("b", file(1, 9)), clash);
        assert_eq!(enter("a", file(0, 9)), 9);
        assert!(![ROOT, WHITEOUT, 0].contains(&enter("c", file(0, 1))));
    }

    #[test]
    fn a_node_is_kept_until_its_last_reference_is_gone() {
        let (nodes, _) = nodes();
        nodes.enter_whiteout();
        nodes.enter_whiteout();
        nodes.forget(WHITEOUT, 1);
        assert!(nodes.get(WHITEOUT).is_some());
        nodes.forget(WHITEOUT, 1);
        assert!(nodes.get(WHITEOUT).is_none());
        nodes.forget(ROOT, 5);
        assert!(nodes.get(ROOT).is_some());
    }
}
