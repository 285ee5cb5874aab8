//! AUFS's and OCI's encoding of deletions: `.wh.NAME` deletes `NAME`, `.wh..wh..opq` makes its directory opaque.
//!
//! [`OciMarkers`] reads it from a layer of any type. Names that begin with `.wh.` belong to the encoding and
//! are never shown.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;

use crate::attr::{Attr, StatFs};
use crate::entry::{FileId, Found, ListEntry};
use crate::error::{Error, Kind, Result};
use crate::layer::{Dir, File, Layer, Target};
use crate::name::Name;

/// What every name of the encoding begins with.
const PREFIX: &[u8] = b".wh.";

/// Its presence makes the directory that holds it opaque.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// A layer whose deletions are `.wh.` names, shown as the contract wants them.
///
/// # Behaviour
/// - `.wh.NAME` is a whiteout of `NAME`. Where `NAME` stands beside it in the same layer, `NAME` is shown, and a
///   directory counts as opaque: the deletion concerns the layers below.
/// - `.wh..wh..opq` marks its directory opaque; in the root it has no effect, as nothing looks the root up.
/// - Any other name with the prefix (`.wh..wh.aufs`, `.wh..wh.plnk`, `.wh.` itself) is absent.
/// - A look-up asks the layer once for what is no directory, twice for a miss, at most three times for a
///   directory. An error of any of them is an error of the look-up.
pub struct OciMarkers {
    inner: Arc<dyn Layer>,
}

impl OciMarkers {
    /// Wraps a layer.
    #[expect(clippy::new_ret_no_self, reason = "a wrapper of layers is only of use as a layer")]
    pub fn new(inner: Arc<dyn Layer>) -> Arc<dyn Layer> {
        Arc::new(Self { inner })
    }
}

#[async_trait]
impl Layer for OciMarkers {
    fn label(&self) -> &Arc<str> {
        self.inner.label()
    }

    async fn root(&self) -> Result<Arc<dyn Dir>> {
        Ok(Arc::new(OciDir(self.inner.root().await?)))
    }

    async fn statfs(&self) -> Result<StatFs> {
        self.inner.statfs().await
    }

    async fn find(&self, id: &FileId) -> Result<Option<Attr>> {
        self.inner.find(id).await
    }

    fn has_xattrs(&self) -> bool {
        self.inner.has_xattrs()
    }

    fn has_backing(&self) -> bool {
        self.inner.has_backing()
    }
}

struct OciDir(Arc<dyn Dir>);

impl OciDir {
    /// Whether the layer holds `.wh.NAME`. A name too long for the prefix cannot be deleted this way.
    async fn deletes(&self, name: &Name) -> Result<bool> {
        match Name::new([PREFIX, name.as_bytes()].concat()) {
            Ok(marker) => has(&*self.0, &marker).await,
            Err(_) => Ok(false),
        }
    }

    async fn is_opaque(&self, name: &Name) -> Result<bool> {
        if self.deletes(name).await? {
            return Ok(true);
        }
        let dir = self.0.dir(name).await?;
        has(&*dir, &Name::new(OPAQUE)?).await
    }
}

#[async_trait]
impl Dir for OciDir {
    async fn attr(&self) -> Result<Attr> {
        self.0.attr().await
    }

    async fn lookup(&self, name: &Name) -> Result<Option<Found>> {
        if is_marker(name) {
            return Ok(None);
        }
        match self.0.lookup(name).await? {
            None => Ok(self.deletes(name).await?.then_some(Found::Whiteout)),
            Some(Found::Entry(mut entry)) if entry.attr.is_dir() => {
                entry.opaque = entry.opaque || self.is_opaque(name).await?;
                Ok(Some(Found::Entry(entry)))
            }
            found => Ok(found),
        }
    }

    async fn stat(&self, name: &Name) -> Result<Option<Attr>> {
        if is_marker(name) { Ok(None) } else { self.0.stat(name).await }
    }

    async fn list(&self) -> Result<Vec<ListEntry>> {
        let (markers, mut rows): (Vec<_>, Vec<_>) =
            self.0.list().await?.into_iter().partition(|row| is_marker(&row.name));
        let present: HashSet<Name> = rows.iter().map(|row| row.name.clone()).collect();
        let whiteouts = markers.into_iter().filter(|marker| !marker.whiteout);
        let deleted = whiteouts
            .filter_map(|marker| Some(ListEntry { name: deleted(&marker.name)?, whiteout: true, ..marker }));
        rows.extend(deleted.filter(|row| !present.contains(&row.name)));
        Ok(rows)
    }

    async fn dir(&self, name: &Name) -> Result<Arc<dyn Dir>> {
        Ok(Arc::new(Self(self.0.dir(visible(name, "open")?).await?)))
    }

    async fn file(&self, name: &Name) -> Result<Arc<dyn File>> {
        self.0.file(visible(name, "open")?).await
    }

    async fn read_link(&self, name: &Name) -> Result<Vec<u8>> {
        self.0.read_link(visible(name, "readlink")?).await
    }

    async fn xattr(&self, target: Target<'_>, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.0.xattr(visible_target(target, "getxattr")?, key).await
    }

    async fn xattr_keys(&self, target: Target<'_>) -> Result<Vec<Vec<u8>>> {
        self.0.xattr_keys(visible_target(target, "listxattr")?).await
    }

    async fn id(&self, target: Target<'_>) -> Result<Option<FileId>> {
        self.0.id(visible_target(target, "name_to_handle")?).await
    }

    async fn is_protected(&self, target: Target<'_>) -> Result<bool> {
        self.0.is_protected(visible_target(target, "stat")?).await
    }

    async fn flags(&self, target: Target<'_>) -> Result<u32> {
        self.0.flags(visible_target(target, "getflags")?).await
    }
}

/// Whether the directory holds an object `name`; one that the layer itself deletes is no marker.
async fn has(dir: &dyn Dir, name: &Name) -> Result<bool> {
    Ok(matches!(dir.lookup(name).await?, Some(Found::Entry(_))))
}

fn is_marker(name: &Name) -> bool {
    name.as_bytes().starts_with(PREFIX)
}

/// The name that a marker deletes; `None` for one that means something else or nothing.
fn deleted(marker: &Name) -> Option<Name> {
    let name = Name::new(marker.as_bytes().strip_prefix(PREFIX)?).ok()?;
    (!is_marker(&name)).then_some(name)
}

fn visible<'a>(name: &'a Name, op: &'static str) -> Result<&'a Name> {
    if is_marker(name) { Err(Error::new(Kind::NotFound, op).at(name)) } else { Ok(name) }
}

fn visible_target<'a>(target: Target<'a>, op: &'static str) -> Result<Target<'a>> {
    if let Target::Child(name) = target {
        visible(name, op)?;
    }
    Ok(target)
}

#[cfg(test)]
mod tests;
