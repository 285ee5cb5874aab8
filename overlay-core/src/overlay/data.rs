//! Where the data of a file is that does not lie with its attributes.

use std::sync::Arc;

use super::inode::{Inode, Lower};
use super::reach::UpperPlace;
use super::up::nothing_happened;
use super::{Overlay, stale};
use crate::attr::{Attr, Kind, SetAttr};
use crate::copy_up::{Data, Source, copy_data, stage};
use crate::entry::{Entry, Found, Mark};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::layer::{Dir, File, Layer, Rename, SetXattr, Target, UpperDir};
use crate::name::Name;

/// What a file may do that its caller may not; any write to the file takes it off.
const CAPABILITY: &[u8] = b"security.capability";

impl Overlay {
    /// Gives a file of the upper the data that it lacks. Its names and whoever reads it see nothing of that; the removal of
    /// the mark is the commit, and until then the data is read from below. Returns whether it was cut to nothing instead.
    ///
    /// Its lock is held all the time, since writing changes times that nobody else may set meanwhile.
    pub(super) async fn bring_data(&self, inode: &Arc<Inode>, data: Data) -> Result<bool> {
        let _place = inode.lock.write().await;
        let place = self.changeable(inode, "copy-up")?;
        if let (UpperPlace::Child(dir, name), Data::None) = (&place, data) {
            let entry = dir.lookup(name).await?.and_then(Found::entry);
            let entry = entry.ok_or_else(|| stale("copy-up").at(name))?;
            let indexed = inode.state().indexed.is_some();
            if entry.attr.nlink == 1 && !indexed {
                return self.put_empty(inode, dir.as_ref(), name, entry).await.map(|()| true);
            }
        }
        let file = match &place {
            UpperPlace::Child(dir, name) => dir.upper_file(name).await?,
            UpperPlace::Node(node) => node.open(true).await?,
            UpperPlace::Dir(_) => return Err(stale("copy-up")),
        };
        let before = file.attr().await?;
        let capability = file.xattr(CAPABILITY).await?;
        let source = self.lower_file(inode).await?;
        copy_data(source.as_ref(), file.as_ref(), before.size).await?;
        // A write takes capabilities off, and set-user-ID if this process has no privilege.
        if let Some(value) = capability {
            file.set_xattr(CAPABILITY, &value, SetXattr::Any).await?;
        }
        let SetAttr { mode, atime, mtime, .. } = SetAttr::copy_of(&before);
        file.set_attr(&SetAttr { mode, atime, mtime, ..SetAttr::default() }).await?;
        if !self.options.volatile {
            file.sync(true).await?;
        }
        file.set_mark(Mark::Metacopy, None).await?;
        let mut state = inode.state_mut();
        state.metacopy = false;
        state.copied = Some(file).filter(|_| inode.is_open());
        Ok(false)
    }

    /// Puts an empty file in the place of one that lacks its data and is to be cut to nothing: neither without its mark
    /// nor without its size may it be seen as it is.
    async fn put_empty(&self, inode: &Inode, dir: &dyn UpperDir, name: &Name, entry: Entry) -> Result<()> {
        let Entry { attr, origin, .. } = entry;
        let source = Source {
            attr: attr.clone(),
            dir: dir as &dyn Dir,
            target: Target::Child(name),
            data: None,
            origin,
        };
        let staged = self.staged("copy-up")?;
        let made = stage(&source, staged.work.as_ref(), &staged.name, Data::None, false).await;
        let file = staged.check(made).await?;
        let mark = inode.state().redirect.clone();
        let marked = match mark {
            None => Ok(()),
            Some(mark) => {
                staged.work.set_mark(Target::Child(&staged.name), Mark::Redirect, Some(&mark)).await
            }
        };
        staged.check(marked).await?;
        let copy = staged.work.stat(&staged.name).await;
        let copy = staged.check(copy).await?.ok_or_else(|| stale("copy-up"))?;
        let before = dir.attr().await;
        let before = staged.check(before).await?;
        staged.publish(dir, name, Rename::Replace).await?;
        self.table.release_number((attr.dev, attr.ino));
        self.table.remember(&copy, inode.ino);
        {
            let mut state = inode.state_mut();
            state.copied_id = Some((copy.dev, copy.ino));
            state.link_id = None;
            state.metacopy = false;
            state.copied = file.filter(|_| inode.is_open());
        }
        nothing_happened(dir, name, &before).await;
        Ok(())
    }

    /// Opens the data of a file that is in a lower layer.
    pub(super) async fn lower_file(&self, inode: &Inode) -> Result<Arc<dyn File>> {
        let lower = inode.state().lowers.last().cloned();
        match lower {
            Some(Lower::Other(_, dir, name)) => dir.file(&name).await,
            Some(Lower::Data(path)) => self.data_file(&path).await,
            Some(Lower::Dir(..)) | None => Err(stale("open")),
        }
    }

    /// Opens a file of the data-only layers.
    async fn data_file(&self, path: &[Name]) -> Result<Arc<dyn File>> {
        for layer in self.stack.data() {
            if let Some((dir, name)) = find(layer.as_ref(), path).await? {
                return dir.file(name).await;
            }
        }
        Err(Error::new(ErrorKind::Io, "open").because("its data is in none of the data-only layers"))
    }

    /// Attributes with the blocks of the data, where that lies elsewhere.
    pub(super) async fn with_data(&self, inode: &Inode, mut attr: Attr) -> Result<Attr> {
        if let Some(blocks) = self.blocks_elsewhere(inode, &attr).await? {
            attr.blocks = blocks;
        }
        Ok(attr)
    }

    async fn blocks_elsewhere(&self, inode: &Inode, attr: &Attr) -> Result<Option<u64>> {
        if inode.kind != Kind::File {
            return Ok(None);
        }
        let lower = {
            let state = inode.state();
            let elsewhere = state.metacopy || state.upper.is_none() && state.lowers.len() > 1;
            state.lowers.last().filter(|_| elsewhere).cloned()
        };
        Ok(match lower {
            Some(Lower::Other(_, dir, name)) => dir.stat(&name).await?.map(|data| data.blocks),
            // Not looked for only to be counted: a guess, as the kernel's.
            Some(Lower::Data(_)) => {
                let unit = u64::from(attr.blksize).max(512);
                Some(attr.size.div_ceil(unit) * unit / 512)
            }
            Some(Lower::Dir(..)) | None => None,
        })
    }
}

/// The directory and name of a regular file of a layer by its path.
async fn find<'a>(layer: &dyn Layer, path: &'a [Name]) -> Result<Option<(Arc<dyn Dir>, &'a Name)>> {
    let Some((last, above)) = path.split_last() else { return Ok(None) };
    let mut dir = layer.root().await?;
    for name in above {
        if kind(dir.as_ref(), name).await? != Some(Kind::Dir) {
            return Ok(None);
        }
        dir = dir.dir(name).await?;
    }
    Ok((kind(dir.as_ref(), last).await? == Some(Kind::File)).then_some((dir, last)))
}

async fn kind(dir: &dyn Dir, name: &Name) -> Result<Option<Kind>> {
    Ok(dir.stat(name).await?.map(|attr| attr.kind))
}
