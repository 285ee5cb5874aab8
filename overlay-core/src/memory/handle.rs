//! A counted reference to an inode: what keeps an object alive when its last name is gone.

use std::sync::{Arc, PoisonError, RwLock};

use super::tree::Tree;
use crate::attr::Attr;
use crate::entry::FileId;
use crate::error::Result;

/// What all handles of a layer share. One lock for all: it is the reference, not the race car, and one lock
/// cannot be taken in the wrong order.
pub(super) struct Shared {
    pub(super) label: Arc<str>,
    pub(super) tree: RwLock<Tree>,
}

impl Shared {
    /// Reads under the lock. A panic elsewhere cannot have left the table half changed: changes check first.
    pub(super) fn read<T>(&self, f: impl FnOnce(&Tree) -> Result<T>) -> Result<T> {
        let tree = self.tree.read().unwrap_or_else(PoisonError::into_inner);
        f(&tree).map_err(|error| error.in_layer(&self.label))
    }

    /// The identity of an inode: the label tells layers apart, the number inodes.
    pub(super) fn id(&self, ino: u64) -> FileId {
        let mut fs = [0; 16];
        fs.iter_mut().zip(self.label.bytes()).for_each(|(to, from)| *to = from);
        FileId { fs, kind: 1, handle: ino.to_le_bytes().to_vec() }
    }

    /// The attributes of an inode by its identity.
    pub(super) fn find(&self, id: &FileId) -> Result<Option<Attr>> {
        let number = id.handle.as_slice().try_into().map(u64::from_le_bytes).unwrap_or_default();
        let own = *id == self.id(number);
        self.read(|tree| Ok(tree.get(number).ok().filter(|_| own).map(|inode| inode.attr(number))))
    }

    pub(super) fn write<T>(&self, f: impl FnOnce(&mut Tree) -> Result<T>) -> Result<T> {
        let mut tree = self.tree.write().unwrap_or_else(PoisonError::into_inner);
        f(&mut tree).map_err(|error| error.in_layer(&self.label))
    }
}

/// A reference to an inode, given back when dropped (so never drop one inside [`Shared::write`]).
pub(super) struct Handle {
    pub(super) shared: Arc<Shared>,
    pub(super) id: u64,
}

impl Handle {
    /// A handle of the inode that `choose` finds or makes.
    pub(super) fn open(shared: &Arc<Shared>, choose: impl FnOnce(&mut Tree) -> Result<u64>) -> Result<Self> {
        let id = shared.write(|tree| {
            let id = choose(tree)?;
            tree.hold(id)
        })?;
        Ok(Self { shared: shared.clone(), id })
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.tree.write().unwrap_or_else(PoisonError::into_inner).release(self.id);
    }
}
