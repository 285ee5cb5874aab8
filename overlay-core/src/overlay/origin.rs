//! Where a copy came from: its number is that of its origin, so that it stays the same over a copy-up and every mount.

use std::sync::Arc;

use super::Overlay;
use super::inode::{Ino, Inode};
use crate::attr::Attr;
use crate::copy_up::or_without;
use crate::entry::{Entry, FileId, Found, Mark};
use crate::error::Result;
use crate::layer::{Dir, Target, UpperDir};
use crate::marker::kernel::{IMPURE, origin, parse_origin};
use crate::name::Name;

impl Overlay {
    /// The mark for a copy of a lower object. None if that has further names: the copy is not what they stand for.
    pub(super) async fn origin_of(
        &self,
        dir: &dyn Dir,
        target: Target<'_>,
        attr: &Attr,
        indexed: bool,
    ) -> Result<Option<Vec<u8>>> {
        if !indexed && !attr.is_dir() && attr.nlink > 1 {
            return Ok(None);
        }
        Ok(Some(origin(dir.id(target).await?.as_ref())))
    }

    /// Marks a directory as holding copies: whoever lists it must look at their origins for the numbers.
    pub(super) async fn mark_impure(&self, dir: &Inode, upper: &dyn UpperDir) -> Result<()> {
        let known = dir.state().impure;
        if known != Some(true) {
            or_without(upper.set_mark(Target::Itself, Mark::Impure, Some(IMPURE)).await)?;
            dir.state_mut().impure = Some(true);
        }
        Ok(())
    }

    /// Marks the directory that an object comes to, if that is a copy.
    pub(super) async fn arrive_impure(
        &self,
        object: Option<&Arc<Inode>>,
        dir: &Inode,
        upper: &dyn UpperDir,
    ) -> Result<()> {
        let is_copy = object.is_some_and(|object| object.state().origin);
        if is_copy { self.mark_impure(dir, upper).await } else { Ok(()) }
    }

    /// Remembers the number of an upper object that is a copy.
    pub(super) async fn recall(&self, entry: &Entry) -> Result<()> {
        let Some(mark) = &entry.origin else { return Ok(()) };
        if self.table.was_copied((entry.attr.dev, entry.attr.ino)) {
            return Ok(());
        }
        if let Some(ino) = self.number_of_origin(mark, &entry.attr).await? {
            self.table.remember(&entry.attr, ino);
        }
        Ok(())
    }

    /// As [`Overlay::recall`] for the object under a name of an upper directory.
    pub(super) async fn recall_name(&self, upper: &dyn Dir, name: &Name) -> Result<()> {
        match upper.lookup(name).await? {
            Some(Found::Entry(entry)) => self.recall(&entry).await,
            Some(Found::Whiteout) | None => Ok(()),
        }
    }

    async fn number_of_origin(&self, mark: &[u8], copy: &Attr) -> Result<Option<Ino>> {
        let Some(id) = parse_origin(mark) else { return Ok(None) };
        let found = self.find_below(&id).await?;
        // Of another kind: its inode was given to something else since.
        let found = found.filter(|(_, attr)| attr.kind == copy.kind);
        Ok(found.map(|(layer, attr)| self.table.number_in(layer, attr.ino)))
    }

    /// The lower object of an identity, with the place of its layer in the fold.
    pub(super) async fn find_below(&self, id: &FileId) -> Result<Option<(usize, Attr)>> {
        for (index, layer) in self.stack.lowers().iter().enumerate() {
            if let Some(attr) = layer.find(id).await? {
                return Ok(Some((index + 1, attr)));
            }
        }
        Ok(None)
    }
}
