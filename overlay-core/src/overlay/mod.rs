//! The union as a file system: inodes are addressed by number, as the kernel addresses them, with nothing of FUSE.
//!
//! An operation takes its ids and locks, gathers facts from the layers, lets [`crate::merge`] decide, has the layers
//! carry the plan out up to its one commit step, and then records the new state in the inode table, which cannot fail.

mod attr;
mod create;
mod data;
mod dir;
mod index;
mod inode;
mod io;
mod link;
mod lookup;
mod origin;
mod protect;
mod reach;
mod redirect;
mod refresh;
mod remove;
mod rename;
mod stage;
mod table;
mod up;
mod xattr;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use dashmap::DashMap;

pub use attr::Change;
pub use dir::{DirHandle, DirRow};
pub use inode::{Ino, ROOT};
pub use io::{FileHandle, Open};

use crate::attr::{Attr, Kind, StatFs};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::layer::UpperDir;
use crate::stack::Stack;
use inode::{Inode, Lower, State, Upper};
use table::Table;

/// How a union behaves.
#[derive(Clone, Debug, Default)]
pub struct OverlayOptions {
    /// The user and group that the upper layer gives to what this process creates. Where a new object belongs to
    /// just these it is made in place; otherwise it is prepared in work first. `None`: always in work.
    pub creates_as: Option<(u32, u32)>,
    /// Leave out every sync: after a crash of the machine the upper layer may be incomplete.
    pub volatile: bool,
    /// Whether a directory may have its lower content under another name.
    pub redirect_dir: RedirectDir,
    /// Copy no data for a change of attributes, a link or a rename of a lower file. Needs [`RedirectDir::On`]. Files that
    /// lack their data are read in any case.
    pub metacopy: bool,
    /// Keep the names of a lower file together when it is copied up. Needs an upper with an index, and lowers whose objects
    /// have identities; elsewhere each name gets a copy of its own.
    pub index: bool,
}

/// What becomes of redirects: the option `redirect_dir` of the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RedirectDir {
    /// They are followed, and a directory with content in a lower layer can be renamed: it gets one.
    #[default]
    On,
    /// They are followed. Such a directory cannot be renamed: `CrossDevice`.
    Follow,
    /// They are not followed: an object that has one is `NotPermitted`. None are made.
    NoFollow,
    /// As `Follow` (the kernel's `redirect_always_follow` is on unless somebody turned it off).
    Off,
}

/// A mounted stack.
pub struct Overlay {
    stack: Stack,
    options: OverlayOptions,
    table: Table,
    /// The roots of the lowers, where what is called by a path is looked up.
    roots: Arc<[Lower]>,
    work: Option<Arc<dyn UpperDir>>,
    index: Option<Arc<dyn UpperDir>>,
    /// Held by every rename, so that the shape of the tree stands still while its locks are taken.
    renaming: tokio::sync::Mutex<()>,
    files: DashMap<u64, Arc<FileHandle>>,
    dirs: DashMap<u64, Arc<DirHandle>>,
    next_handle: AtomicU64,
    next_staged: AtomicU64,
}

impl Overlay {
    /// Opens the roots of the layers and clears what a crashed mount left in work.
    pub async fn new(stack: Stack, options: OverlayOptions) -> Result<Arc<Self>> {
        let mut lowers = Vec::new();
        for (index, layer) in stack.lowers().iter().enumerate() {
            lowers.push(Lower::Dir(index, layer.root().await?));
        }
        let (upper, work) = match stack.upper() {
            None => (Upper::None, None),
            Some(upper) => (Upper::Dir(upper.upper_root().await?), Some(upper.work().await?)),
        };
        let index = match stack.upper().filter(|_| options.index) {
            None => None,
            Some(upper) => Some(upper.index().await?.ok_or_else(index::missing)?),
        };
        if let Some(index) = &index {
            index::sweep(index.as_ref()).await?;
        }
        if let Some(work) = &work {
            stage::empty(work.as_ref()).await?;
        }
        let roots: Arc<[Lower]> = lowers.into();
        let state = State { upper, lowers: roots.clone(), ..State::default() };
        let spaces = spaces(&state).await?;
        let table = Table::new(Arc::new(Inode::new(ROOT, Kind::Dir, state)), spaces);
        Ok(Arc::new(Self {
            stack,
            options,
            table,
            roots,
            work,
            index,
            renaming: tokio::sync::Mutex::new(()),
            files: DashMap::new(),
            dirs: DashMap::new(),
            next_handle: AtomicU64::new(1),
            next_staged: AtomicU64::new(1),
        }))
    }

    /// Whether anything can be changed.
    pub fn is_writable(&self) -> bool {
        self.work.is_some()
    }

    /// Whether any layer may hold ACLs or other xattrs.
    pub fn has_xattrs(&self) -> bool {
        let upper = self.stack.upper().is_some_and(|upper| upper.has_xattrs());
        upper || self.stack.lowers().iter().any(|layer| layer.has_xattrs())
    }

    /// The layers: 0 is the upper if there is one, else the topmost lower.
    pub fn layer_labels(&self) -> Vec<Arc<str>> {
        let upper = self.stack.upper().map(|upper| upper.label().clone());
        upper.into_iter().chain(self.stack.lowers().iter().map(|layer| layer.label().clone())).collect()
    }

    /// How many inodes the client knows.
    pub fn inode_count(&self) -> usize {
        self.table.len()
    }

    /// The sizes of the upper layer, or of the topmost lower.
    pub async fn statfs(&self) -> Result<StatFs> {
        match self.stack.upper() {
            Some(upper) => upper.statfs().await,
            None => self.stack.lowers()[0].statfs().await,
        }
    }

    /// Writes everything to stable storage, unless the mount is volatile.
    pub async fn sync(&self) -> Result<()> {
        match self.stack.upper() {
            Some(upper) if !self.options.volatile => upper.sync().await,
            _ => Ok(()),
        }
    }

    /// Drops `count` references that [`Overlay::lookup`] and the creating operations gave out.
    pub fn forget(&self, ino: Ino, count: u64) {
        self.table.forget(ino, count);
    }

    /// The layer that an object's content and attributes come from: an index into [`Overlay::layer_labels`].
    pub fn layer_of(&self, ino: Ino) -> Result<usize> {
        let inode = self.inode(ino)?;
        let state = inode.state();
        let first_lower = usize::from(self.stack.upper().is_some());
        if !state.upper.is_none() {
            return Ok(0);
        }
        match state.lowers.first() {
            Some(Lower::Dir(layer, _) | Lower::Other(layer, ..)) => Ok(first_lower + layer),
            Some(Lower::Data(_)) | None => Err(stale("layer")),
        }
    }

    /// Whether a file may be copied up without its data.
    fn can_leave_data(&self) -> bool {
        self.options.metacopy && self.can_redirect()
    }

    /// Whether a directory with content in a lower layer can be renamed.
    fn can_redirect(&self) -> bool {
        self.options.redirect_dir == RedirectDir::On
    }

    fn inode(&self, ino: Ino) -> Result<Arc<Inode>> {
        self.table.inode(ino).ok_or_else(|| stale("inode"))
    }

    /// The inode of a directory that still has a name.
    fn live_dir(&self, ino: Ino, op: &'static str) -> Result<Arc<Inode>> {
        let inode = self.inode(ino)?;
        if !inode.is_dir() {
            return Err(Error::new(ErrorKind::NotDir, op));
        }
        if inode.is_removed() { Err(Error::new(ErrorKind::NotFound, op)) } else { Ok(inode) }
    }

    fn work(&self, op: &'static str) -> Result<&Arc<dyn UpperDir>> {
        self.work.as_ref().ok_or_else(|| Error::new(ErrorKind::ReadOnly, op))
    }

    fn upper_of(&self, dir: &Inode, op: &'static str) -> Result<Arc<dyn UpperDir>> {
        dir.upper_dir().ok_or_else(|| Error::new(ErrorKind::Stale, op))
    }

    /// The attributes as the union shows them: its own number, and 1 as the link count of a merged directory,
    /// on which programs do not rely on the count.
    fn shown(&self, inode: &Inode, mut attr: Attr) -> Attr {
        let state = inode.state();
        attr.ino = inode.ino;
        attr.dev = 0;
        if inode.is_dir() {
            let merged = state.lowers.len() + usize::from(!state.upper.is_none()) > 1;
            if merged {
                attr.nlink = 1;
            }
        }
        if let Some(indexed) = &state.indexed {
            attr.nlink = indexed.total(attr.nlink);
        }
        if state.removed {
            attr.nlink = 0;
        }
        attr
    }
}

/// For each layer (0 is the upper) the first one on the same file system.
async fn spaces(roots: &State) -> Result<Vec<usize>> {
    let mut devices = vec![match &roots.upper {
        Upper::Dir(dir) => dir.attr().await?.dev,
        _ => 0,
    }];
    for lower in roots.lowers.iter() {
        devices.push(if let Lower::Dir(_, dir) = lower { dir.attr().await?.dev } else { 0 });
    }
    let first = |(at, dev): (usize, &u64)| match dev {
        0 => at,
        dev => devices.iter().position(|other| other == dev).unwrap_or(at),
    };
    Ok(devices.iter().enumerate().map(first).collect())
}

fn stale(op: &'static str) -> Error {
    Error::new(ErrorKind::Stale, op)
}

#[cfg(test)]
mod index_tests;
#[cfg(test)]
mod metacopy_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod redirect_tests;
#[cfg(test)]
mod tests;
