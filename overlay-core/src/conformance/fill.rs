//! Fills layers from a declared tree: one in memory, or any upper through its own methods.

use std::sync::Arc;

use super::tree::{Row, Tree, What, names};
use crate::attr::{Kind, SetAttr, SetTime};
use crate::error::Result;
use crate::layer::{Make, SetXattr, Target, UpperDir};
use crate::memory::{MemoryBuilder, MemoryLayer};
use crate::name::Name;

impl Tree {
    /// A layer in memory with this content.
    pub fn to_memory(&self, label: &str) -> Result<MemoryLayer> {
        self.rows().iter().fold(MemoryLayer::builder(label), declare).build()
    }

    /// Writes the content into an empty directory of an upper.
    pub async fn write_to(&self, root: &Arc<dyn UpperDir>) -> Result<()> {
        for row in self.rows() {
            make(root, row).await?;
        }
        // Last, and from the leaves to the root: making an entry changes its directory's times.
        for row in self.rows().iter().rev() {
            describe(root, row).await?;
        }
        Ok(())
    }
}

fn declare(builder: MemoryBuilder, row: &Row) -> MemoryBuilder {
    let path = &row.path;
    let mut builder = match &row.what {
        What::Dir => builder.dir(path),
        What::File(content) => builder.file(path, content),
        What::Sparse(size, parts) => {
            let parts: Vec<_> = parts.iter().map(|(offset, data)| (*offset, &data[..])).collect();
            builder.sparse(path, *size, &parts)
        }
        What::Symlink(target) => return builder.symlink(path, target),
        What::Special(kind, rdev) => builder.special(path, *kind, *rdev),
        What::HardLink(existing) => return builder.hard_link(path, existing),
        What::Whiteout => return builder.whiteout(path),
    };
    builder = builder.mode(row.mode);
    if let Some((uid, gid)) = row.owner {
        builder = builder.owner(uid, gid);
    }
    if let Some(time) = row.time {
        builder = builder.time(time);
    }
    if row.opaque {
        builder = builder.opaque();
    }
    row.xattrs.iter().fold(builder, |builder, (key, value)| builder.xattr(key, value))
}

async fn make(root: &Arc<dyn UpperDir>, row: &Row) -> Result<()> {
    let (dir, name) = place(root, &row.path).await?;
    match &row.what {
        What::Dir => dir.make(&name, &Make::Dir(row.mode)).await,
        What::File(content) => dir.create(&name, row.mode).await?.write_at(0, content).await,
        What::Sparse(size, parts) => {
            let file = dir.create(&name, row.mode).await?;
            file.set_attr(&SetAttr { size: Some(*size), ..SetAttr::default() }).await?;
            for (offset, data) in parts {
                file.write_at(*offset, data).await?;
            }
            Ok(())
        }
        What::Symlink(target) => dir.make(&name, &Make::Symlink(target.clone())).await,
        What::Special(kind, rdev) => dir.make(&name, &Make::Node(*kind, row.mode, *rdev)).await,
        What::HardLink(existing) => {
            let (from, old) = place(root, existing).await?;
            from.link(&old, &*dir, &name).await
        }
        What::Whiteout => dir.whiteout(&name).await,
    }
}

async fn describe(root: &Arc<dyn UpperDir>, row: &Row) -> Result<()> {
    if matches!(row.what, What::Whiteout | What::HardLink(_)) {
        return Ok(());
    }
    let (dir, name) = place(root, &row.path).await?;
    let target = Target::Child(&name);
    for (key, value) in &row.xattrs {
        dir.set_xattr(target, key, value, SetXattr::Create).await?;
    }
    if row.opaque {
        dir.set_opaque(target).await?;
    }
    dir.set_attr(target, &changes(row)).await
}

fn changes(row: &Row) -> SetAttr {
    let time = row.time.map(SetTime::At);
    let mode = (row.kind() != Some(Kind::Symlink)).then_some(row.mode);
    let (uid, gid) = row.owner.unzip();
    SetAttr { mode, uid, gid, size: None, atime: time, mtime: time }
}

/// The directory and the name of a path.
async fn place(root: &Arc<dyn UpperDir>, path: &[u8]) -> Result<(Arc<dyn UpperDir>, Name)> {
    let mut names = names(path)?;
    let last = names.pop().expect("a row's path is never empty");
    let mut dir = root.clone();
    for name in names {
        dir = dir.upper_dir(&name).await?;
    }
    Ok((dir, last))
}
