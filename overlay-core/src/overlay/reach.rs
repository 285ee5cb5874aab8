//! How the object of an inode is reached in its layer, for reading and changing it.

use std::sync::Arc;

use super::inode::{Inode, Lower, Upper};
use super::{Overlay, stale};
use crate::attr::{Attr, SetAttr};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::layer::{Dir, SetXattr, Target, UpperDir, UpperNode};
use crate::name::Name;

/// An object to read.
pub(super) enum Place {
    /// A directory.
    Dir(Arc<dyn Dir>),
    /// A name in a directory.
    Child(Arc<dyn Dir>, Name),
    /// A nameless object of the upper.
    Node(Arc<dyn UpperNode>),
}

/// An object of the upper layer to change.
pub(super) enum UpperPlace {
    /// A directory.
    Dir(Arc<dyn UpperDir>),
    /// A name in a directory.
    Child(Arc<dyn UpperDir>, Name),
    /// A nameless object.
    Node(Arc<dyn UpperNode>),
}

impl Overlay {
    /// Where the inode's object is now. The caller holds the inode's lock, so that it stays there.
    pub(super) fn place(&self, inode: &Inode) -> Result<Place> {
        if let Some(upper) = self.upper_place(inode)? {
            return Ok(match upper {
                UpperPlace::Dir(dir) => Place::Dir(dir),
                UpperPlace::Child(dir, name) => Place::Child(dir, name),
                UpperPlace::Node(node) => Place::Node(node),
            });
        }
        match inode.state().lowers.first() {
            Some(Lower::Dir(_, dir)) => Ok(Place::Dir(dir.clone())),
            Some(Lower::Other(_, dir, name)) => Ok(Place::Child(dir.clone(), name.clone())),
            Some(Lower::Data(_)) | None => Err(stale("inode")),
        }
    }

    /// Where the inode's object is in the upper layer, if it is there.
    pub(super) fn upper_place(&self, inode: &Inode) -> Result<Option<UpperPlace>> {
        let state = inode.state();
        match &state.upper {
            Upper::None => Ok(None),
            Upper::Dir(dir) => Ok(Some(UpperPlace::Dir(dir.clone()))),
            Upper::Indexed(index, key) => Ok(Some(UpperPlace::Child(index.clone(), key.clone()))),
            Upper::Orphan(node) => Ok(Some(UpperPlace::Node(node.clone()))),
            Upper::Named => {
                let (parent, name) = state.names.first().ok_or_else(|| stale("inode"))?;
                let dir = parent.upper_dir().ok_or_else(|| stale("inode"))?;
                Ok(Some(UpperPlace::Child(dir, name.clone())))
            }
        }
    }
}

impl Place {
    /// The attributes; `Stale` if the object vanished from its layer behind our back.
    pub(super) async fn attr(&self) -> Result<Attr> {
        match self {
            Self::Dir(dir) => dir.attr().await,
            Self::Child(dir, name) => dir.stat(name).await?.ok_or_else(|| stale("stat").at(name)),
            Self::Node(node) => node.attr().await,
        }
    }

    pub(super) async fn read_link(&self) -> Result<Vec<u8>> {
        match self {
            Self::Child(dir, name) => dir.read_link(name).await,
            Self::Dir(_) => Err(Error::new(ErrorKind::Invalid, "readlink")),
            // The client has read the target of a link before it removed it, or never will.
            Self::Node(_) => Err(Error::new(ErrorKind::NotFound, "readlink")),
        }
    }

    pub(super) async fn xattr(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        match self {
            Self::Dir(dir) => dir.xattr(Target::Itself, key).await,
            Self::Child(dir, name) => dir.xattr(Target::Child(name), key).await,
            Self::Node(node) => node.xattr(key).await,
        }
    }

    pub(super) async fn xattr_keys(&self) -> Result<Vec<Vec<u8>>> {
        match self {
            Self::Dir(dir) => dir.xattr_keys(Target::Itself).await,
            Self::Child(dir, name) => dir.xattr_keys(Target::Child(name)).await,
            Self::Node(node) => node.xattr_keys().await,
        }
    }

    pub(super) async fn flags(&self) -> Result<u32> {
        match self {
            Self::Dir(dir) => dir.flags(Target::Itself).await,
            Self::Child(dir, name) => dir.flags(Target::Child(name)).await,
            Self::Node(node) => node.flags().await,
        }
    }
}

impl UpperPlace {
    pub(super) async fn set_attr(&self, change: &SetAttr) -> Result<()> {
        match self {
            Self::Dir(dir) => dir.set_attr(Target::Itself, change).await,
            Self::Child(dir, name) => dir.set_attr(Target::Child(name), change).await,
            Self::Node(node) => node.set_attr(change).await,
        }
    }

    pub(super) async fn set_xattr(&self, key: &[u8], value: &[u8], how: SetXattr) -> Result<()> {
        match self {
            Self::Dir(dir) => dir.set_xattr(Target::Itself, key, value, how).await,
            Self::Child(dir, name) => dir.set_xattr(Target::Child(name), key, value, how).await,
            Self::Node(node) => node.set_xattr(key, value, how).await,
        }
    }

    pub(super) async fn remove_xattr(&self, key: &[u8]) -> Result<()> {
        match self {
            Self::Dir(dir) => dir.remove_xattr(Target::Itself, key).await,
            Self::Child(dir, name) => dir.remove_xattr(Target::Child(name), key).await,
            Self::Node(node) => node.remove_xattr(key).await,
        }
    }

    pub(super) async fn set_flags(&self, flags: u32) -> Result<()> {
        match self {
            Self::Dir(dir) => dir.set_flags(Target::Itself, flags).await,
            Self::Child(dir, name) => dir.set_flags(Target::Child(name), flags).await,
            Self::Node(node) => node.set_flags(flags).await,
        }
    }
}
