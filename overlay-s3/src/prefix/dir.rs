//! The handle of a directory: look-ups in its complete listing.

use std::sync::Arc;

use async_trait::async_trait;
use overlay_core::attr::Attr;
use overlay_core::entry::{Found, ListEntry};
use overlay_core::error::{Error, Kind, Result};
use overlay_core::layer::{Dir, File};
use overlay_core::name::Name;

use super::tree::{DirNode, Listing, Node};
use super::{Context, fill};
use crate::read::ObjectFile;

pub(crate) struct Handle {
    context: Arc<Context>,
    node: Arc<DirNode>,
}

impl Handle {
    pub(crate) fn new(context: &Arc<Context>, node: &Arc<DirNode>) -> Self {
        Self { context: context.clone(), node: node.clone() }
    }

    async fn listing(&self, op: &'static str) -> Result<Arc<Listing>> {
        let listing = fill::listing(&self.context, &self.node).await;
        listing.map_err(|failure| failure.of(op, &self.context.label))
    }

    /// The object `name`, which must be there.
    async fn node(&self, op: &'static str, name: &Name) -> Result<Node> {
        let listing = self.listing(op).await.map_err(|error| error.at(name))?;
        listing.find(name).cloned().ok_or_else(|| self.error(Kind::NotFound, op, name))
    }

    fn error(&self, kind: Kind, op: &'static str, name: &Name) -> Error {
        Error::new(kind, op).at(name).in_layer(&self.context.label)
    }
}

#[async_trait]
impl Dir for Handle {
    async fn attr(&self) -> Result<Attr> {
        Ok(self.node.attr(&self.context))
    }

    async fn lookup(&self, name: &Name) -> Result<Option<Found>> {
        let listing = self.listing("lookup").await.map_err(|error| error.at(name))?;
        Ok(listing.find(name).map(|node| Found::plain(node.attr(&self.context))))
    }

    async fn list(&self) -> Result<Vec<ListEntry>> {
        let listing = self.listing("readdir").await?;
        let entry = |(name, node): &(Name, Node)| ListEntry {
            name: name.clone(),
            kind: node.kind(),
            ino: node.ino(),
            whiteout: false,
        };
        Ok(listing.rows().iter().map(entry).collect())
    }

    async fn dir(&self, name: &Name) -> Result<Arc<dyn Dir>> {
        match self.node("opendir", name).await? {
            Node::Dir(node) => Ok(Arc::new(Self::new(&self.context, &node))),
            Node::File { .. } => Err(self.error(Kind::NotDir, "opendir", name)),
        }
    }

    async fn file(&self, name: &Name) -> Result<Arc<dyn File>> {
        let node = self.node("open", name).await?;
        let Node::File { facts, .. } = &node else { return Err(self.error(Kind::IsDir, "open", name)) };
        let key = format!("{}{}", self.node.key, String::from_utf8_lossy(name.as_bytes()));
        let file =
            ObjectFile::new(&self.context, &key, name.clone(), node.attr(&self.context), facts.clone())?;
        Ok(Arc::new(file))
    }

    async fn read_link(&self, name: &Name) -> Result<Vec<u8>> {
        self.node("readlink", name).await?;
        Err(self.error(Kind::Invalid, "readlink", name))
    }
}
