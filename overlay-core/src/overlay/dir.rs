//! Reading directories.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use super::inode::{Ino, Inode, Lower, Upper};
use super::table::UPPER;
use super::{Overlay, stale};
use crate::attr::{Attr, Kind};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::layer::Dir;
use crate::merge::listing::Fold;
use crate::name::Name;

/// A row of a directory as the client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirRow {
    /// The name; `None` for `.` (the first row) and `..` (the second).
    pub name: Option<Name>,
    /// The number that a look-up of the name answers.
    pub ino: Ino,
    /// What it is.
    pub kind: Kind,
}

/// An open directory: it keeps the listing that its reader is in the middle of, so that offsets stay good whatever
/// changes meanwhile.
pub struct DirHandle {
    inode: Arc<Inode>,
    rows: Mutex<Option<Arc<[DirRow]>>>,
}

impl Overlay {
    /// Opens a directory for reading.
    pub async fn opendir(&self, ino: Ino) -> Result<u64> {
        let inode = self.inode(ino)?;
        if !inode.is_dir() {
            return Err(Error::new(ErrorKind::NotDir, "opendir"));
        }
        let handle = self.next_handle.fetch_add(1, Ordering::Relaxed);
        self.dirs.insert(handle, Arc::new(DirHandle { inode, rows: Mutex::new(None) }));
        Ok(handle)
    }

    /// The rows of an open directory. The row at index *i* has the offset *i* + 1. `rewind` (a read from offset 0)
    /// takes a new listing.
    pub async fn readdir(&self, handle: u64, rewind: bool) -> Result<Arc<[DirRow]>> {
        let handle = self.dir_handle(handle)?;
        let known = handle.rows.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(rows) = known.filter(|_| !rewind) {
            return Ok(rows);
        }
        let rows: Arc<[DirRow]> = self.rows(&handle.inode).await?.into();
        *handle.rows.lock().unwrap_or_else(PoisonError::into_inner) = Some(rows.clone());
        Ok(rows)
    }

    /// Closes a directory.
    pub fn releasedir(&self, handle: u64) {
        self.dirs.remove(&handle);
    }

    /// Writes a directory of the upper layer to stable storage.
    pub async fn fsyncdir(&self, handle: u64) -> Result<()> {
        let upper = self.dir_handle(handle)?.inode.upper_dir();
        match upper {
            Some(dir) if !self.options.volatile => dir.sync().await,
            _ => Ok(()),
        }
    }

    fn dir_handle(&self, handle: u64) -> Result<Arc<DirHandle>> {
        let known = self.dirs.get(&handle).map(|entry| entry.value().clone());
        known.ok_or_else(|| Error::new(ErrorKind::BadHandle, "readdir"))
    }

    async fn rows(&self, dir: &Arc<Inode>) -> Result<Vec<DirRow>> {
        let _names = dir.lock.read().await;
        let parent = dir.first_name().map_or(dir.ino, |(parent, _)| parent.ino);
        let row = |ino| DirRow { name: None, ino, kind: Kind::Dir };
        let mut rows = vec![row(dir.ino), row(parent)];
        if !dir.is_removed() {
            self.merged_rows(dir, &mut rows).await?;
        }
        Ok(rows)
    }

    async fn merged_rows(&self, dir: &Inode, rows: &mut Vec<DirRow>) -> Result<()> {
        let mut fold = Fold::default();
        let mut dev = 0;
        let impure = dir.state().impure != Some(false);
        let upper = dir.upper_dir().filter(|_| impure);
        for (layer, handle) in layers(dir) {
            if layer == UPPER {
                dev = handle.attr().await?.dev;
            }
            fold.add(layer, handle.list().await?);
        }
        for row in fold.rows() {
            let live = self.table.child(dir.ino, &row.name).map(|inode| inode.ino);
            if let (None, Some(upper)) = (live, upper.as_ref().filter(|_| row.layer == UPPER)) {
                self.recall_name(upper.as_ref(), &row.name).await?;
            }
            let ino = live.unwrap_or_else(|| self.table.derive(row.layer, row.ino, dev));
            rows.push(DirRow { name: Some(row.name), ino, kind: row.kind });
        }
        Ok(())
    }

    /// Whether the union shows nothing in a directory, and whether there is nothing in its upper, either.
    /// The caller holds the directory's lock.
    pub(super) async fn emptiness(&self, dir: &Inode) -> Result<Emptiness> {
        let mut fold = Fold::default();
        let mut bare = true;
        for (layer, handle) in layers(dir) {
            let entries = handle.list().await?;
            bare &= layer != UPPER || entries.is_empty();
            fold.add(layer, entries);
        }
        Ok(Emptiness { empty: fold.rows().is_empty(), bare })
    }

    /// The attributes of a child for a listing with attributes, with a reference to its inode.
    pub async fn lookup_row(&self, handle: u64, name: &Name) -> Result<Option<Attr>> {
        let parent = self.dir_handle(handle)?.inode.clone();
        if parent.is_removed() {
            return Ok(None);
        }
        let known = self.table.inode(parent.ino).ok_or_else(|| stale("readdir"))?;
        self.lookup(known.ino, name).await
    }
}

/// What [`Overlay::emptiness`] finds.
#[derive(Clone, Copy)]
pub(super) struct Emptiness {
    pub(super) empty: bool,
    pub(super) bare: bool,
}

/// The handles of a directory in its layers, topmost first, with their places in the fold.
fn layers(dir: &Inode) -> Vec<(usize, Arc<dyn Dir>)> {
    let state = dir.state();
    let mut layers: Vec<(usize, Arc<dyn Dir>)> = Vec::new();
    if let Upper::Dir(upper) = &state.upper {
        layers.push((UPPER, upper.clone()));
    }
    for lower in state.lowers.iter() {
        if let Lower::Dir(layer, dir) = lower {
            layers.push((layer + 1, dir.clone()));
        }
    }
    layers
}
