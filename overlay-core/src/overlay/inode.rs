//! An inode of the union: what it is made of, and the locks that guard it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::index::Indexed;
use crate::attr::Kind;
use crate::copy_up::Data;
use crate::layer::{Dir, UpperDir, UpperFile, UpperNode};
use crate::name::Name;

/// The number of an inode: unique among the inodes that are in use, the root's is 1.
pub type Ino = u64;

/// The number of the root.
pub const ROOT: Ino = 1;

/// An inode.
///
/// # Locks
/// In this order, never backwards: the rename lock of the overlay; `lock` of directories, an ancestor before what
/// is below it, else by number; `lock` of other inodes. `copying` comes before all `lock`s and is never taken
/// while one is held. `state` guards plain data and is never held across an await.
pub(super) struct Inode {
    pub(super) ino: Ino,
    pub(super) kind: Kind,
    /// For a directory: its names. For anything: where it lies. Reading needs it shared, changing exclusively.
    pub(super) lock: tokio::sync::RwLock<()>,
    /// One copy-up at a time.
    pub(super) copying: tokio::sync::Mutex<()>,
    /// How many references the client has; 0 removes it from the table.
    pub(super) lookups: AtomicU64,
    /// How many open handles of regular files there are.
    pub(super) opens: AtomicUsize,
    state: RwLock<State>,
}

/// Where an inode's content is.
#[derive(Clone, Default)]
pub(super) struct State {
    /// Its names that are known; the first serves to reach it. Empty once it is removed, and for the root.
    pub(super) names: Vec<(Arc<Inode>, Name)>,
    /// Its object in the upper layer.
    pub(super) upper: Upper,
    /// Its objects in lower layers, topmost first. Of anything but a directory the first lends the attributes (unless
    /// there is an upper) and the last the data.
    pub(super) lowers: Arc<[Lower]>,
    /// The upper is a file without its data, which is in the last of `lowers`.
    pub(super) metacopy: bool,
    /// The redirect mark of the upper: what the object is called in the layers below.
    pub(super) redirect: Option<Arc<[u8]>>,
    /// The upper file of an inode that was copied up while it was open, until the last handle is closed: handles
    /// opened on the lower read from it.
    pub(super) copied: Option<Arc<dyn UpperFile>>,
    /// Of a file whose lower object has several names: its place in the index.
    pub(super) indexed: Option<Indexed>,
    /// The upper is a copy that is marked with its origin.
    pub(super) origin: bool,
    /// Whether the upper directory is marked as holding such copies; `None` where nobody asked.
    pub(super) impure: Option<bool>,
    /// The upper's (device, inode) of an object that was copied up, under which its number is remembered.
    pub(super) copied_id: Option<(u64, u64)>,
    /// The upper's (device, inode) of an object that is known to have several names.
    pub(super) link_id: Option<(u64, u64)>,
    /// The directory's default ACL, once it was asked for.
    pub(super) default_acl: Option<Option<Arc<[u8]>>>,
    /// It has no name any more.
    pub(super) removed: bool,
}

/// An object in the upper layer.
#[derive(Clone, Default)]
pub(super) enum Upper {
    /// There is none.
    #[default]
    None,
    /// A directory.
    Dir(Arc<dyn UpperDir>),
    /// Anything else, under the inode's first name.
    Named,
    /// Anything else, under this name in the index.
    Indexed(Arc<dyn UpperDir>, Name),
    /// Anything else, without a name.
    Orphan(Arc<dyn UpperNode>),
}

impl Upper {
    pub(super) fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

/// An object in a lower layer.
#[derive(Clone)]
pub(super) enum Lower {
    /// A directory.
    Dir(usize, Arc<dyn Dir>),
    /// Anything else: layer, directory and name.
    Other(usize, Arc<dyn Dir>, Name),
    /// The data of a file, at this path in a data-only layer; looked for when it is wanted.
    Data(Arc<[Name]>),
}

impl Inode {
    pub(super) fn new(ino: Ino, kind: Kind, state: State) -> Self {
        Self {
            ino,
            kind,
            lock: tokio::sync::RwLock::new(()),
            copying: tokio::sync::Mutex::new(()),
            lookups: AtomicU64::new(0),
            opens: AtomicUsize::new(0),
            state: RwLock::new(state),
        }
    }

    pub(super) fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_dir(&self) -> bool {
        self.kind == Kind::Dir
    }

    pub(super) fn has_upper(&self) -> bool {
        !self.state().upper.is_none()
    }

    /// Whether its upper object is there with what is wanted of its data.
    pub(super) fn has(&self, data: Data) -> bool {
        let state = self.state();
        !state.upper.is_none() && (data == Data::Below || !state.metacopy)
    }

    /// The directory's handle in the upper layer.
    pub(super) fn upper_dir(&self) -> Option<Arc<dyn UpperDir>> {
        match &self.state().upper {
            Upper::Dir(dir) => Some(dir.clone()),
            _ => None,
        }
    }

    /// The directory that holds it under its first name, and that name.
    pub(super) fn first_name(&self) -> Option<(Arc<Inode>, Name)> {
        self.state().names.first().cloned()
    }

    /// Takes a name from it.
    pub(super) fn drop_name(&self, parent: Ino, name: &Name) {
        self.state_mut().names.retain(|(p, n)| p.ino != parent || n != name);
    }

    pub(super) fn is_removed(&self) -> bool {
        self.state().removed
    }

    pub(super) fn is_open(&self) -> bool {
        self.opens.load(Ordering::SeqCst) > 0
    }
}
