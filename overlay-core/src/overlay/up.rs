//! Copy-up of an inode: parents first, one at a time, published under the name that it has by then.

use std::sync::Arc;

use super::inode::{Inode, Lower, Upper};
use super::stage::Staged;
use super::{Overlay, attr, stale};
use crate::attr::Kind;
use crate::copy_up::{Data, Source, stage};
use crate::error::Result;
use crate::layer::{Dir, Rename, Target, UpperDir, UpperFile};
use crate::name::Name;

impl Overlay {
    /// Makes sure that the inode is in the upper layer. The caller holds no lock. Returns whether this call brought it
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
        if inode.has_upper() {
            return Ok(false);
        }
        let _copying = inode.copying.lock().await;
        if inode.has_upper() {
            return Ok(false);
        }
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
        let source = Source { attr, dir: dir.as_ref(), target };
        let staged = self.staged("copy-up")?;
        let made = stage(&source, staged.work.as_ref(), &staged.name, data, !self.options.volatile).await;
        let file = staged.check(made).await?;
        self.publish(inode, staged, file).await.map(|()| true)
    }

    /// The commit: the copy gets the inode's name, and the inode its copy.
    async fn publish(
        &self,
        inode: &Arc<Inode>,
        staged: Staged<'_>,
        file: Option<Arc<dyn UpperFile>>,
    ) -> Result<()> {
        let _place = inode.lock.write().await;
        match inode.first_name() {
            None => self.publish_orphan(inode, staged, file).await,
            Some((parent, name)) => {
                let up = parent.upper_dir().ok_or_else(|| stale("copy-up"));
                let up = staged.check(up).await?;
                self.publish_named(inode, staged, file, up, &name).await
            }
        }
    }

    async fn publish_named(
        &self,
        inode: &Arc<Inode>,
        staged: Staged<'_>,
        file: Option<Arc<dyn UpperFile>>,
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
            state.copied = file.filter(|_| inode.is_open());
        }
        // For the client nothing happened in the directory.
        if let Err(error) = parent.set_attr(Target::Itself, &attr::times(&before)).await {
            tracing::warn!(%error, %name, "a copy-up shows in the times of its directory");
        }
        Ok(())
    }

    /// An inode that has lost its name is copied up for those who hold it open: the copy never gets a name.
    async fn publish_orphan(
        &self,
        inode: &Arc<Inode>,
        staged: Staged<'_>,
        file: Option<Arc<dyn UpperFile>>,
    ) -> Result<()> {
        let node = staged.work.pin(&staged.name).await;
        let node = staged.check(node).await?;
        self.discard(&staged.name).await;
        let mut state = inode.state_mut();
        state.upper = Upper::Orphan(node);
        state.copied = file;
        Ok(())
    }
}
