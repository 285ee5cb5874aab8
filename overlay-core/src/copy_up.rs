//! Copy-up: an object of a lower layer gets its own copy in the upper, as if it had always been there.
//!
//! The copy is prepared in work with everything that belongs to it and then published by one rename, parents first.
//! Nobody waits for it but those who want to change the same object. A copy may leave its data where it is
//! ([`Data::Below`]) and get it when somebody wants to write.

use std::sync::Arc;

use crate::attr::{Attr, Kind, SetAttr, SetTime};
use crate::entry::Mark;
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::layer::{Dir, File, Make, Seek, SetXattr, Target, UpperDir, UpperFile};
use crate::name::Name;

/// How much of a file's content a copy-up needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// All of it.
    Full,
    /// Nothing: it is cut to nothing at once.
    None,
    /// Nothing for now: it is read from where it is, if the mount may do that, else all of it.
    Below,
}

/// What is copied: attributes and where the content is.
pub(crate) struct Source<'a> {
    pub(crate) attr: Attr,
    pub(crate) dir: &'a dyn Dir,
    pub(crate) target: Target<'a>,
    /// The content, where it is copied.
    pub(crate) data: Option<Arc<dyn File>>,
    /// The mark of what it is copied from, if the copy is to have one.
    pub(crate) origin: Option<Vec<u8>>,
}

/// Prepares the copy under `name` in `work`. Returns the copy's file if it is a regular one.
pub(crate) async fn stage(
    source: &Source<'_>,
    work: &dyn UpperDir,
    name: &Name,
    data: Data,
    sync: bool,
) -> Result<Option<Arc<dyn UpperFile>>> {
    let file = make(source, work, name).await?;
    match (&file, &source.data) {
        (Some(file), Some(data)) => copy_data(data.as_ref(), file.as_ref(), source.attr.size).await?,
        (Some(file), None) if data == Data::Below => {
            file.set_attr(&SetAttr { size: Some(source.attr.size), ..SetAttr::default() }).await?;
            work.set_mark(Target::Child(name), Mark::Metacopy, Some(b"")).await?;
        }
        _ => {}
    }
    // A change of owner takes file capabilities off, a read-only mode forbids xattrs, and everything changes the times.
    let SetAttr { uid, gid, mode, atime, mtime, .. } = SetAttr::copy_of(&source.attr);
    work.set_attr(Target::Child(name), &SetAttr { uid, gid, ..SetAttr::default() }).await?;
    copy_xattrs(source, work, name).await?;
    if let Some(origin) = &source.origin {
        or_without(work.set_mark(Target::Child(name), Mark::Origin, Some(origin)).await)?;
    }
    // A file whose data is left out is one that is cut to nothing now.
    let mtime = if file.is_some() && data == Data::None { Some(SetTime::Now) } else { mtime };
    work.set_attr(Target::Child(name), &SetAttr { mode, atime, mtime, ..SetAttr::default() }).await?;
    if let Some(file) = file.as_ref().filter(|_| sync && data == Data::Full && source.attr.size > 0) {
        // Without this a crash of the machine after the rename could leave an empty file in place of the old one.
        file.sync(true).await?;
    }
    Ok(file)
}

/// A mark that serves numbers alone may be missing where the layer has no place for it.
pub(crate) fn or_without(marked: Result<()>) -> Result<()> {
    match marked {
        Err(error) if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::NotPermitted) => Ok(()),
        other => other,
    }
}

/// Makes the bare object, closed to everybody until it is complete.
async fn make(source: &Source<'_>, work: &dyn UpperDir, name: &Name) -> Result<Option<Arc<dyn UpperFile>>> {
    let what = match (source.attr.kind, source.target) {
        (Kind::File, _) => return work.create(name, 0o600).await.map(Some),
        (Kind::Dir, _) => Make::Dir(0o700),
        (Kind::Symlink, Target::Child(child)) => Make::Symlink(source.dir.read_link(child).await?),
        (Kind::Symlink, Target::Itself) => return Err(Error::new(ErrorKind::Invalid, "copy-up")),
        (kind, _) => Make::Node(kind, 0o600, source.attr.rdev),
    };
    work.make(name, &what).await.map(|()| None)
}

/// Copies the content: by sharing storage where the file system can, else by pieces, holes left out. The copy has `size`
/// bytes, whatever the source has.
pub(crate) async fn copy_data(from: &dyn File, to: &dyn UpperFile, size: u64) -> Result<()> {
    if size == 0 {
        return Ok(());
    }
    if !to.reflink(from).await? {
        let there = from.attr().await?.size.min(size);
        let mut at = 0;
        while at < there {
            let Some(data) = from.seek(at, Seek::Data).await? else { break };
            let hole = from.seek(data, Seek::Hole).await?.unwrap_or(there).min(there);
            copy_piece(from, to, data, hole).await?;
            at = hole.max(data + 1);
        }
    }
    // A hole at the end, and what the pieces did not reach.
    to.set_attr(&SetAttr { size: Some(size), ..SetAttr::default() }).await
}

async fn copy_piece(from: &dyn File, to: &dyn UpperFile, start: u64, end: u64) -> Result<()> {
    let mut at = start;
    while at < end {
        let copied = to.copy_range(from, at, at, (end - at).min(PIECE)).await?;
        if copied == 0 {
            // The lower is shorter than it said it was: half a copy must never take its place.
            return Err(Error::new(ErrorKind::Io, "copy-up").because("the lower file ended early"));
        }
        at += copied;
    }
    Ok(())
}

/// Bytes asked of one step of a copy: large, so that the kernel can work without coming back for more.
const PIECE: u64 = 64 << 20;

async fn copy_xattrs(source: &Source<'_>, work: &dyn UpperDir, name: &Name) -> Result<()> {
    for key in source.dir.xattr_keys(source.target).await? {
        let Some(value) = source.dir.xattr(source.target, &key).await? else { continue };
        match work.set_xattr(Target::Child(name), &key, &value, SetXattr::Any).await {
            Err(error) if error.kind() == ErrorKind::Unsupported && !must_copy(&key) => {}
            other => other?,
        }
    }
    Ok(())
}

/// Xattrs on which access depends (`ovl_must_copy_xattr`): without them the copy would be open to others.
fn must_copy(key: &[u8]) -> bool {
    key.starts_with(b"system.posix_acl_") || key.starts_with(b"security.")
}
