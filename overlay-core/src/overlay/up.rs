//! Copy-up of an inode: parents first, one at a time, published under the name that it has by then.

use std::sync::Arc;

use super::index::Indexed;
use super::inode::{Inode, Lower, Upper};
use super::stage::Staged;
use super::{Overlay, attr, stale};
use crate::attr::{Attr, Kind};
use crate::copy_up::{Data, Source, stage};
use crate::error::Result;
use crate::layer::{Dir, Rename, Target, UpperDir, UpperFile};
use crate::name::Name;

impl Overlay {
    /// Makes sure that the inode is in the upper layer, with its data unless that may stay below. The caller holds no lock. Returns whether this call brought it
    /// there: with [`Data::None`] it is cut to nothing then, and nothing remains to be done that could fail.
    pub(super) async fn copy_up(&self, inode: &Arc<Inode>, data: Data) -> Result<bool> {
        self.work("copy-up")?;
        let mut chain = vec![inode.clone()];
        while let Some((parent, _)) = chain.last().and_then(|last| last.first_name()) {
            if parent.has_upper() {
                break;
            }
            chain.push(parent);
        }
        let mut copied = false;
        while let Some(next) = chain.pop() {
            let data = if chain.is_empty() { data } else { Data::Full };
            copied = self.copy_up_one(&next, data).await?;
        }
        Ok(copied)
    }

    async fn copy_up_one(&self, inode: &Arc<Inode>, data: Data) -> Result<bool> {
        if inode.has(data) {
            return Ok(false);
        }
        let _copying = inode.copying.lock().await;
        if inode.has(data) {
            return Ok(false);
        }
        if inode.has_upper() {
            return self.bring_data(inode, data).await;
        }
        self.refuse_protected(inode, "copy-up").await?;
        let lower = inode.state().lowers.first().cloned().ok_or_else(|| stale("copy-up"))?;
        let (dir, name): (Arc<dyn Dir>, Option<Name>) = match lower {
            Lower::Dir(_, dir) => (dir, None),
            Lower::Other(_, dir, name) => (dir, Some(name)),
            Lower::Data(_) => return Err(stale("copy-up")),
        };
        let (target, attr) = match &name {
            None => (Target::Itself, dir.attr().await?),
            Some(name) => {
                (Target::Child(name), dir.stat(name).await?.ok_or_else(|| stale("copy-up").at(name))?)
            }
        };
        let is_file = attr.kind == Kind::File;
        let data = if data == Data::Below && !(is_file && self.can_leave_data()) { Data::Full } else { data };
        let content = if is_file && data == Data::Full { Some(self.lower_file(inode).await?) } else { None };
        let indexed = inode.state().indexed.clone();
        let origin = self.origin_of(dir.as_ref(), target, &attr, indexed.is_some()).await?;
        let is_marked = origin.is_some();
        let source = Source { attr, dir: dir.as_ref(), target, data: content, origin };
        let staged = self.staged("copy-up")?;
        let made = stage(&source, staged.work.as_ref(), &staged.name, data, !self.options.volatile).await;
        let file = staged.check(made).await?;
        if let Some(indexed) = indexed.filter(|_| inode.first_name().is_some()) {
            let counted = self.count_names(&indexed, &staged).await;
            let links = staged.check(counted).await?;
            let copy = Copy { file, lacks_data: data == Data::Below, is_marked: true };
            return self.publish_indexed(inode, staged, copy, indexed.counted(links)).await.map(|()| true);
        }
        let copy = Copy { file, lacks_data: data == Data::Below, is_marked };
        self.publish(inode, staged, copy).await.map(|()| true)
    }

    /// The commit: the copy gets the inode's name, and the inode its copy.
    async fn publish(&self, inode: &Arc<Inode>, staged: Staged<'_>, made: Copy) -> Result<()> {
        let _place = inode.lock.write().await;
        match inode.first_name() {
            None => self.publish_orphan(inode, staged, made).await,
            Some((parent, name)) => {
                let up = parent.upper_dir().ok_or_else(|| stale("copy-up"));
                let up = staged.check(up).await?;
                let marked = self.mark_impure(&parent, up.as_ref()).await;
                staged.check(marked).await?;
                self.publish_named(inode, staged, made, up, &name).await
            }
        }
    }

    async fn publish_named(
        &self,
        inode: &Arc<Inode>,
        staged: Staged<'_>,
        made: Copy,
        parent: Arc<dyn UpperDir>,
        name: &Name,
    ) -> Result<()> {
        // Everything that can fail comes before the rename: the handle follows the directory to its new name.
        let copy = staged.work.stat(&staged.name).await;
        let copy = staged.check(copy).await?.ok_or_else(|| stale("copy-up"))?;
        let upper = if inode.kind == Kind::Dir {
            let handle = staged.work.upper_dir(&staged.name).await;
            Upper::Dir(staged.check(handle).await?)
        } else {
            Upper::Named
        };
        let before = parent.attr().await;
        let before = staged.check(before).await?;
        staged.publish(parent.as_ref(), name, Rename::NoReplace).await?;
        self.table.remember(&copy, inode.ino);
        {
            let mut state = inode.state_mut();
            state.upper = upper;
            state.copied_id = Some((copy.dev, copy.ino));
            state.metacopy = made.lacks_data;
            state.origin = made.is_marked;
            state.impure = (inode.kind == Kind::Dir).then_some(false);
            state.copied = made.file_with_data().filter(|_| inode.is_open());
        }
        nothing_happened(parent.as_ref(), name, &before).await;
        Ok(())
    }

    /// As [`Overlay::publish_named`] for a file whose lower object has several names.
    async fn publish_indexed(
        &self,
        inode: &Arc<Inode>,
        staged: Staged<'_>,
        made: Copy,
        indexed: Indexed,
    ) -> Result<()> {
        let _place = inode.lock.write().await;
        let copy = staged.work.stat(&staged.name).await;
        let copy = staged.check(copy).await?.ok_or_else(|| stale("copy-up"))?;
        let upper = self.publish_in_index(staged, &indexed.key).await?;
        self.table.remember(&copy, inode.ino);
        {
            let mut state = inode.state_mut();
            state.upper = upper;
            state.indexed = Some(indexed);
            state.copied_id = Some((copy.dev, copy.ino));
            state.metacopy = made.lacks_data;
            state.origin = true;
            state.copied = made.file_with_data().filter(|_| inode.is_open());
        }
        self.bring_known_names(inode).await;
        Ok(())
    }

    /// An inode that has lost its name is copied up for those who hold it open: the copy never gets a name.
    async fn publish_orphan(&self, inode: &Arc<Inode>, staged: Staged<'_>, made: Copy) -> Result<()> {
        let node = staged.work.pin(&staged.name).await;
        let node = staged.check(node).await?;
        self.discard(&staged.name).await;
        let mut state = inode.state_mut();
        state.upper = Upper::Orphan(node);
        state.metacopy = made.lacks_data;
        state.copied = made.file_with_data();
        Ok(())
    }
}

/// Gives a directory the times that it had before a copy-up: for the client nothing happened in it.
pub(super) async fn nothing_happened(dir: &dyn UpperDir, name: &Name, before: &Attr) {
    if let Err(error) = dir.set_attr(Target::Itself, &attr::times(before)).await {
        tracing::warn!(%error, %name, "a copy-up shows in the times of its directory");
    }
}

/// A copy in work.
struct Copy {
    /// It, if it is a regular file.
    file: Option<Arc<dyn UpperFile>>,
    lacks_data: bool,
    /// It is marked with its origin.
    is_marked: bool,
}

impl Copy {
    /// What those who opened the lower file read from now on.
    fn file_with_data(self) -> Option<Arc<dyn UpperFile>> {
        self.file.filter(|_| !self.lacks_data)
    }
}
