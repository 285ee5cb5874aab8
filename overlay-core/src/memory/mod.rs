//! The reference layer: a tree in memory that does what the contract and POSIX say, no more and no less.

mod builder;
mod content;
mod directory;
mod handle;
mod inode;
mod object;
mod tree;

use std::sync::{Arc, RwLock};

use async_trait::async_trait;

pub use self::builder::MemoryBuilder;
use self::directory::Directory;
use self::handle::Shared;
use self::inode::now;
use self::tree::{INDEX, ROOT, Tree, WORK};
use crate::attr::Attr;
use crate::entry::FileId;
use crate::error::Result;
use crate::layer::{Dir, Layer, UpperDir, UpperLayer};

/// A read-only tree in memory.
pub struct MemoryLayer(Arc<Shared>);

impl MemoryLayer {
    /// Starts the declaration of a layer that people will know as `label`.
    pub fn builder(label: &str) -> MemoryBuilder {
        MemoryBuilder::new(label)
    }
}

/// A writable tree in memory. New objects belong to root; times come from the system's clock.
///
/// It is a [`Layer`] too, so what was written to one can be the lower of the next stack.
pub struct MemoryUpper(Arc<Shared>);

impl MemoryUpper {
    /// An empty tree that people will know as `label`.
    pub fn new(label: &str) -> Self {
        Self(Arc::new(Shared { label: label.into(), tree: RwLock::new(Tree::new(now())) }))
    }

    /// Opens the same tree again, as a mount after a crash would: what lay in work is gone. Handles that are
    /// held stay valid.
    pub fn reopen(&self) -> Result<Self> {
        self.0.write(|tree| tree.clear(WORK))?;
        Ok(Self(self.0.clone()))
    }
}

#[async_trait]
impl Layer for MemoryLayer {
    fn label(&self) -> &Arc<str> {
        &self.0.label
    }

    async fn root(&self) -> Result<Arc<dyn Dir>> {
        Ok(Directory::top(&self.0, ROOT)?)
    }

    async fn find(&self, id: &FileId) -> Result<Option<Attr>> {
        self.0.find(id)
    }

    fn has_xattrs(&self) -> bool {
        true
    }
}

#[async_trait]
impl Layer for MemoryUpper {
    fn label(&self) -> &Arc<str> {
        &self.0.label
    }

    async fn root(&self) -> Result<Arc<dyn Dir>> {
        Ok(Directory::top(&self.0, ROOT)?)
    }

    async fn find(&self, id: &FileId) -> Result<Option<Attr>> {
        self.0.find(id)
    }

    fn has_xattrs(&self) -> bool {
        true
    }
}

#[async_trait]
impl UpperLayer for MemoryUpper {
    async fn upper_root(&self) -> Result<Arc<dyn UpperDir>> {
        Ok(Directory::top(&self.0, ROOT)?)
    }

    async fn work(&self) -> Result<Arc<dyn UpperDir>> {
        Ok(Directory::top(&self.0, WORK)?)
    }

    async fn index(&self) -> Result<Option<Arc<dyn UpperDir>>> {
        Ok(Some(Directory::top(&self.0, INDEX)?))
    }

    async fn sync(&self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
