//! Work: objects are prepared there unseen, published by one rename, and thrown away there.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Overlay;
use crate::attr::{Kind, SetAttr};
use crate::entry::Found;
use crate::error::{Kind as ErrorKind, Result};
use crate::layer::{Rename, Target, UpperDir};
use crate::name::Name;

/// An object in work that is removed from there unless it is published.
pub(super) struct Staged<'a> {
    overlay: &'a Overlay,
    pub(super) work: &'a Arc<dyn UpperDir>,
    pub(super) name: Name,
}

impl Overlay {
    /// A name in work that nobody else has: work is locked by this mount and was empty when it began.
    pub(super) fn staged(&self, op: &'static str) -> Result<Staged<'_>> {
        let work = self.work(op)?;
        let number = self.next_staged.fetch_add(1, Ordering::Relaxed);
        Ok(Staged { overlay: self, work, name: Name::new(format!("#{number:x}"))? })
    }

    /// Removes something from work. It is out of the union already, so a failure is no error of the operation; the
    /// next mount tries again.
    pub(super) async fn discard(&self, name: &Name) {
        let Some(work) = &self.work else { return };
        if let Err(error) = discard(work.as_ref(), name).await {
            tracing::warn!(%error, "left in work until the next mount");
        }
    }
}

impl Staged<'_> {
    /// Moves the object into the tree, or removes it if that fails.
    pub(super) async fn publish(self, to: &dyn UpperDir, name: &Name, how: Rename) -> Result<()> {
        let result = self.work.rename(&self.name, to, name, how).await;
        if result.is_err() || how == Rename::Exchange {
            self.overlay.discard(&self.name).await;
        }
        result
    }

    /// Passes a result on; an error removes the object first.
    pub(super) async fn check<T>(&self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            self.overlay.discard(&self.name).await;
        }
        result
    }
}

/// Removes everything from a work directory, however deep. Deep trees are flattened: a directory's directories are
/// moved up to work before it is removed, so that neither the stack nor descriptors grow with the depth.
pub(super) async fn empty(work: &dyn UpperDir) -> Result<()> {
    for entry in work.list().await? {
        discard(work, &entry.name).await?;
    }
    Ok(())
}

async fn discard(work: &dyn UpperDir, name: &Name) -> Result<()> {
    let mut next = vec![name.clone()];
    let mut number = 0;
    while let Some(name) = next.pop() {
        match work.lookup(&name).await? {
            Some(Found::Entry(entry)) if entry.attr.is_dir() => {
                next.extend(clear_any(work, &name, &mut number).await?);
                absent_is_fine(work.rmdir(&name).await)?;
            }
            Some(_) => absent_is_fine(work.unlink(&name).await)?,
            None => {}
        }
    }
    Ok(())
}

/// Empties a directory whatever its mode: it may be one that its owner had closed to everybody. Where this process gets in
/// all the same the mode stays: somebody may have the directory open and ask for it.
async fn clear_any(work: &dyn UpperDir, name: &Name, number: &mut u64) -> Result<Vec<Name>> {
    let dir = work.upper_dir(name).await?;
    match clear(dir.as_ref(), work, number).await {
        Err(error) if error.kind() == ErrorKind::Access => {}
        other => return other,
    }
    let open = SetAttr { mode: Some(0o700), ..SetAttr::default() };
    work.set_attr(Target::Child(name), &open).await?;
    clear(dir.as_ref(), work, number).await
}

/// Unlinks what is in `dir` and moves its directories up to work, where they are returned.
async fn clear(dir: &dyn UpperDir, work: &dyn UpperDir, number: &mut u64) -> Result<Vec<Name>> {
    let mut moved = Vec::new();
    for entry in dir.list().await? {
        if entry.whiteout || entry.kind != Kind::Dir {
            absent_is_fine(dir.unlink(&entry.name).await)?;
        } else {
            moved.push(move_up(dir, &entry.name, work, number).await?);
        }
    }
    Ok(moved)
}

async fn move_up(dir: &dyn UpperDir, name: &Name, work: &dyn UpperDir, number: &mut u64) -> Result<Name> {
    loop {
        *number += 1;
        let flat = Name::new(format!("~{number:x}"))?;
        match dir.rename(name, work, &flat, Rename::NoReplace).await {
            Err(error) if error.kind() == ErrorKind::Exists => {}
            other => return other.map(|()| flat),
        }
    }
}

fn absent_is_fine(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
