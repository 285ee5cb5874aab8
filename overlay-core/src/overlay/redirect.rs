//! Marking an object of the upper with what it is called in the layers below, so that it can be moved.

use std::sync::Arc;

use super::Overlay;
use super::inode::{Inode, Lower};
use crate::entry::Mark;
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::layer::{Target, UpperDir};
use crate::merge::redirect::{absolute, needed};
use crate::name::Name;

impl Overlay {
    /// Marks the object whose name in the union is `name` in `parent`, and its place in the upper `key` in `dir`. Where it is now it means the same with the mark as without.
    /// `by_path`: a name is not enough. The rename lock is held, so that no ancestor moves.
    pub(super) async fn redirect(
        &self,
        inode: &Inode,
        (parent, name): (&Arc<Inode>, &Name),
        (dir, key): (&dyn UpperDir, &Name),
        by_path: bool,
    ) -> Result<()> {
        let current = inode.state().redirect.clone();
        if !needed(current.as_deref(), by_path) {
            return Ok(());
        }
        let refuse =
            |kind| Error::new(kind, "redirect").at(name).because("its path would be too long for a mark");
        let mark: Arc<[u8]> = match by_path {
            false => name.as_bytes().into(),
            true => path_below(parent, name, current).map_err(refuse)?.into(),
        };
        let set = dir.set_mark(Target::Child(key), Mark::Redirect, Some(&mark)).await;
        // Programs copy then, as where there are no redirects.
        set.map_err(|error| Error::new(ErrorKind::CrossDevice, "redirect").at(name).because(error))?;
        inode.state_mut().redirect = Some(mark);
        Ok(())
    }

    /// Whether a file has other names in its lower layer: a mark must do for all of them, so it is a path.
    pub(super) async fn is_linked_below(&self, inode: &Inode) -> Result<bool> {
        let lower = inode.state().lowers.first().cloned();
        match lower {
            Some(Lower::Other(_, dir, name)) => Ok(dir.stat(&name).await?.is_some_and(|attr| attr.nlink > 1)),
            _ => Ok(false),
        }
    }
}

/// What an object is called in the layers below, from their roots.
fn path_below(
    parent: &Arc<Inode>,
    name: &Name,
    current: Option<Arc<[u8]>>,
) -> std::result::Result<Vec<u8>, ErrorKind> {
    let mut parts: Vec<Arc<[u8]>> = vec![current.unwrap_or_else(|| name.as_bytes().into())];
    let mut at = parent.clone();
    while let Some((above, name)) = at.first_name() {
        let mark = at.state().redirect.clone();
        parts.push(mark.unwrap_or_else(|| name.as_bytes().into()));
        at = above;
    }
    absolute(parts.iter().map(AsRef::as_ref))
}
