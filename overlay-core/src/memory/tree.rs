//! The table of a memory layer's inodes, and the changes of names that POSIX knows.

use std::collections::HashMap;

use super::inode::{Body, Entries, Inode, now};
use crate::attr::Time;
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::layer::{Rename, Target};
use crate::name::Name;

/// The inode of the root directory.
pub(super) const ROOT: u64 = 1;

/// The inode of the work directory, which no name of the tree leads to.
pub(super) const WORK: u64 = 2;

/// The inode of the index, which no name leads to, either.
pub(super) const INDEX: u64 = 3;

/// All inodes of a layer. Numbers are never used twice.
pub(super) struct Tree {
    inodes: HashMap<u64, Inode>,
    last: u64,
}

/// A name in a directory.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) dir: u64,
    pub(super) name: &'a Name,
}

impl Tree {
    /// An empty root and an empty work directory.
    pub(super) fn new(time: Time) -> Self {
        let dir = |id, mode| (id, Inode::new(Body::empty_dir(id), mode, time));
        Self { inodes: HashMap::from([dir(ROOT, 0o755), dir(WORK, 0o700), dir(INDEX, 0o700)]), last: INDEX }
    }

    pub(super) fn get(&self, id: u64) -> Result<&Inode> {
        self.inodes.get(&id).ok_or_else(stale)
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Result<&mut Inode> {
        self.inodes.get_mut(&id).ok_or_else(stale)
    }

    pub(super) fn entries(&self, dir: u64) -> Result<&Entries> {
        self.get(dir)?.entries()
    }

    /// What stands at a place, a whiteout included.
    pub(super) fn find(&self, at: Place<'_>) -> Result<Option<u64>> {
        Ok(self.entries(at.dir)?.names.get(at.name).copied())
    }

    /// The object at a place; a whiteout is none.
    pub(super) fn object(&self, at: Place<'_>) -> Result<u64> {
        let id = self.find(at)?.ok_or_else(|| absent("lookup"))?;
        if matches!(self.get(id)?.body, Body::Whiteout) {
            return Err(absent("lookup"));
        }
        Ok(id)
    }

    pub(super) fn target(&self, dir: u64, target: Target<'_>) -> Result<u64> {
        match target {
            Target::Itself => Ok(dir),
            Target::Child(name) => self.object(Place { dir, name }),
        }
    }

    /// Counts a handle on an inode.
    pub(super) fn hold(&mut self, id: u64) -> Result<u64> {
        self.get_mut(id)?.handles += 1;
        Ok(id)
    }

    /// Gives a handle back.
    pub(super) fn release(&mut self, id: u64) {
        if let Some(inode) = self.inodes.get_mut(&id) {
            inode.handles -= 1;
            self.reap(id);
        }
    }

    /// Adds a new object at a place where nothing stands.
    pub(super) fn add(&mut self, at: Place<'_>, inode: Inode) -> Result<u64> {
        self.vacant(at, "create")?;
        let id = self.insert(inode);
        self.give_name(at, id)?;
        Ok(id)
    }

    pub(super) fn link(&mut self, from: Place<'_>, to: Place<'_>) -> Result<()> {
        let id = self.find(from)?.ok_or_else(|| absent("link"))?;
        if self.get(id)?.is_dir() {
            return Err(Error::new(ErrorKind::NotPermitted, "link"));
        }
        self.vacant(to, "link")?;
        self.give_name(to, id)
    }

    pub(super) fn unlink(&mut self, at: Place<'_>) -> Result<()> {
        let id = self.find(at)?.ok_or_else(|| absent("unlink"))?;
        if self.get(id)?.is_dir() {
            return Err(Error::new(ErrorKind::IsDir, "unlink"));
        }
        self.remove(at, id)
    }

    pub(super) fn rmdir(&mut self, at: Place<'_>) -> Result<()> {
        let id = self.find(at)?.ok_or_else(|| absent("rmdir"))?;
        let Body::Dir(entries) = &self.get(id)?.body else {
            return Err(Error::new(ErrorKind::NotDir, "rmdir"));
        };
        if !entries.names.is_empty() {
            return Err(Error::new(ErrorKind::NotEmpty, "rmdir"));
        }
        self.remove(at, id)
    }

    /// All checks come first; once the first name has moved, nothing can fail.
    pub(super) fn rename(&mut self, from: Place<'_>, to: Place<'_>, how: Rename) -> Result<()> {
        let source = self.find(from)?.ok_or_else(|| absent("rename"))?;
        self.alive(to.dir, "rename")?;
        let target = self.find(to)?;
        check_presence(target, how)?;
        // Two names of one object: POSIX wants nothing done.
        if target == Some(source) {
            return Ok(());
        }
        self.check_loops(source, from.dir, target, to.dir, how)?;
        match target {
            Some(target) if how == Rename::Exchange => return self.exchange((from, source), (to, target)),
            Some(target) => {
                self.check_kinds(source, target)?;
                self.remove(to, target)?;
            }
            None => {}
        }
        self.take_name(from, source)?;
        self.give_name(to, source)?;
        if how == Rename::Whiteout {
            let whiteout = self.insert(whiteout());
            self.give_name(from, whiteout)?;
        }
        Ok(())
    }

    /// How many objects there are, those without a name included.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.inodes.len()
    }

    /// Sets all times of all objects.
    pub(super) fn set_all_times(&mut self, time: Time) {
        self.inodes.values_mut().for_each(|inode| inode.set_times(time));
    }

    /// Empties a directory, with all that is below.
    pub(super) fn clear(&mut self, dir: u64) -> Result<()> {
        let names: Vec<_> = self.entries(dir)?.names.iter().map(|(name, id)| (name.clone(), *id)).collect();
        for (name, id) in names {
            if self.get(id)?.is_dir() {
                self.clear(id)?;
            }
            self.remove(Place { dir, name: &name }, id)?;
        }
        Ok(())
    }

    fn exchange(&mut self, a: (Place<'_>, u64), b: (Place<'_>, u64)) -> Result<()> {
        self.take_name(a.0, a.1)?;
        self.take_name(b.0, b.1)?;
        self.give_name(a.0, b.1)?;
        self.give_name(b.0, a.1)
    }

    fn insert(&mut self, inode: Inode) -> u64 {
        self.last += 1;
        self.inodes.insert(self.last, inode);
        self.last
    }

    /// Takes a name from an object for good.
    fn remove(&mut self, at: Place<'_>, id: u64) -> Result<()> {
        self.take_name(at, id)?;
        let inode = self.get_mut(id)?;
        if inode.is_dir() {
            inode.nlink = 0;
        }
        self.reap(id);
        Ok(())
    }

    /// Removes an entry and what it counts for: a directory's in its parent, another object's in itself.
    fn take_name(&mut self, at: Place<'_>, id: u64) -> Result<()> {
        let inode = self.get_mut(id)?;
        let is_dir = inode.is_dir();
        inode.nlink -= u32::from(!is_dir);
        inode.ctime = now();
        let parent = self.get_mut(at.dir)?;
        parent.entries_mut()?.names.remove(at.name);
        parent.nlink -= u32::from(is_dir);
        parent.touch();
        Ok(())
    }

    fn give_name(&mut self, at: Place<'_>, id: u64) -> Result<()> {
        let inode = self.get_mut(id)?;
        let is_dir = inode.is_dir();
        if let Body::Dir(entries) = &mut inode.body {
            entries.parent = at.dir;
        }
        inode.nlink += u32::from(!is_dir);
        inode.ctime = now();
        let parent = self.get_mut(at.dir)?;
        parent.entries_mut()?.names.insert(at.name.clone(), id);
        parent.nlink += u32::from(is_dir);
        parent.touch();
        Ok(())
    }

    /// Forgets an inode that has neither a name nor a handle.
    fn reap(&mut self, id: u64) {
        if self.inodes.get(&id).is_some_and(|inode| inode.nlink == 0 && inode.handles == 0) {
            self.inodes.remove(&id);
        }
    }

    fn vacant(&self, at: Place<'_>, op: &'static str) -> Result<()> {
        self.alive(at.dir, op)?;
        match self.find(at)? {
            Some(_) => Err(Error::new(ErrorKind::Exists, op)),
            None => Ok(()),
        }
    }

    /// A directory that was removed takes no names any more.
    fn alive(&self, dir: u64, op: &'static str) -> Result<()> {
        if self.get(dir)?.nlink == 0 { Err(absent(op)) } else { Ok(()) }
    }

    fn check_loops(&self, source: u64, from: u64, target: Option<u64>, to: u64, how: Rename) -> Result<()> {
        if self.holds(source, to)? {
            return Err(Error::new(ErrorKind::Invalid, "rename"));
        }
        match target {
            Some(target) if self.holds(target, from)? => {
                let exchange = how == Rename::Exchange;
                Err(Error::new(if exchange { ErrorKind::Invalid } else { ErrorKind::NotEmpty }, "rename"))
            }
            _ => Ok(()),
        }
    }

    fn check_kinds(&self, source: u64, target: u64) -> Result<()> {
        let (source, target) = (self.get(source)?, self.get(target)?);
        let kind = match (source.is_dir(), target.is_dir()) {
            (true, false) => ErrorKind::NotDir,
            (false, true) => ErrorKind::IsDir,
            (true, true) if !target.entries()?.names.is_empty() => ErrorKind::NotEmpty,
            _ => return Ok(()),
        };
        Err(Error::new(kind, "rename"))
    }

    /// Whether `dir` is `ancestor` or lies below it.
    fn holds(&self, ancestor: u64, dir: u64) -> Result<bool> {
        let mut at = dir;
        while at != ancestor {
            let parent = self.entries(at)?.parent;
            if parent == at {
                return Ok(false);
            }
            at = parent;
        }
        Ok(true)
    }
}

/// A whiteout as it is before it has a name.
pub(super) fn whiteout() -> Inode {
    Inode::new(Body::Whiteout, 0, now())
}

fn check_presence(target: Option<u64>, how: Rename) -> Result<()> {
    match (how, target) {
        (Rename::NoReplace, Some(_)) => Err(Error::new(ErrorKind::Exists, "rename")),
        (Rename::Exchange, None) => Err(absent("rename")),
        _ => Ok(()),
    }
}

fn absent(op: &'static str) -> Error {
    Error::new(ErrorKind::NotFound, op)
}

/// A handle counts on its inode, so this would be a defect of the table itself.
fn stale() -> Error {
    Error::new(ErrorKind::Stale, "inode")
}
