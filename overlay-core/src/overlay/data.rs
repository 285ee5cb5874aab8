//! Where the data of a file is that does not lie with its attributes.

use std::sync::Arc;

use super::inode::{Inode, Lower};
use super::{Overlay, stale};
use crate::attr::{Attr, Kind};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::layer::{Dir, File, Layer};
use crate::name::Name;

impl Overlay {
    /// Opens the data of a file that is in a lower layer.
    pub(super) async fn lower_file(&self, inode: &Inode) -> Result<Arc<dyn File>> {
        let lower = inode.state().lowers.last().cloned();
        match lower {
            Some(Lower::Other(_, dir, name)) => dir.file(&name).await,
            Some(Lower::Data(path)) => self.data_file(&path).await,
            Some(Lower::Dir(..)) | None => Err(stale("open")),
        }
    }

    /// Opens a file of the data-only layers.
    async fn data_file(&self, path: &[Name]) -> Result<Arc<dyn File>> {
        for layer in self.stack.data() {
            if let Some((dir, name)) = find(layer.as_ref(), path).await? {
                return dir.file(name).await;
            }
        }
        Err(Error::new(ErrorKind::Io, "open").because("its data is in none of the data-only layers"))
    }

    /// Attributes with the blocks of the data, where that lies elsewhere.
    pub(super) async fn with_data(&self, inode: &Inode, mut attr: Attr) -> Result<Attr> {
        if let Some(blocks) = self.blocks_elsewhere(inode, &attr).await? {
            attr.blocks = blocks;
        }
        Ok(attr)
    }

    async fn blocks_elsewhere(&self, inode: &Inode, attr: &Attr) -> Result<Option<u64>> {
        if inode.kind != Kind::File {
            return Ok(None);
        }
        let lower = {
            let state = inode.state();
            let elsewhere = state.metacopy || state.upper.is_none() && state.lowers.len() > 1;
            state.lowers.last().filter(|_| elsewhere).cloned()
        };
        Ok(match lower {
            Some(Lower::Other(_, dir, name)) => dir.stat(&name).await?.map(|data| data.blocks),
            // Not looked for only to be counted: a guess, as the kernel's.
            Some(Lower::Data(_)) => {
                let unit = u64::from(attr.blksize).max(512);
                Some(attr.size.div_ceil(unit) * unit / 512)
            }
            Some(Lower::Dir(..)) | None => None,
        })
    }
}

/// The directory and name of a regular file of a layer by its path.
async fn find<'a>(layer: &dyn Layer, path: &'a [Name]) -> Result<Option<(Arc<dyn Dir>, &'a Name)>> {
    let Some((last, above)) = path.split_last() else { return Ok(None) };
    let mut dir = layer.root().await?;
    for name in above {
        if kind(dir.as_ref(), name).await? != Some(Kind::Dir) {
            return Ok(None);
        }
        dir = dir.dir(name).await?;
    }
    Ok((kind(dir.as_ref(), last).await? == Some(Kind::File)).then_some((dir, last)))
}

async fn kind(dir: &dyn Dir, name: &Name) -> Result<Option<Kind>> {
    Ok(dir.stat(name).await?.map(|attr| attr.kind))
}
