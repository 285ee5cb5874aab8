//! The contract that every layer fulfils.
//!
//! A layer is a tree of directories that are addressed by *handle + one name*, never by a path: one component
//! cannot traverse a symbolic link, and a renamed ancestor cannot make it stale.
//!
//! Reading ([`Layer`], [`Dir`], [`File`]) and writing ([`UpperLayer`], [`UpperDir`], [`UpperNode`], [`UpperFile`])
//! are different traits. A lower has no method that writes: writing to a lower cannot be expressed.
//!
//! # Rules for every implementation
//! - **Absence is `Ok(None)`** and means that the layer knows the name is not there. Whatever else goes wrong
//!   (a permission, the network, a deadline) is an error. The union passes it on and never takes it for absence.
//! - **Futures are `Send` and end**: a layer that waits for something outside the machine keeps a deadline of
//!   its own. A FUSE client cannot be interrupted.
//! - **A local answer is ready at the first poll**, so that no thread is switched for it. What may block for
//!   long is awaited.
//! - **Dropping a future is safe** at any await.
//! - A lower **does not change while mounted**; handles that it gave out stay valid.
//!
//! The suites in `conformance` (feature `conformance`) check all that can be checked; run them for a layer type of your own.

use std::any::Any;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::attr::{Attr, Kind, SetAttr, StatFs};
use crate::entry::{FileId, Found, ListEntry, Mark};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::name::Name;

/// A tree that can be read.
#[async_trait]
pub trait Layer: Send + Sync + 'static {
    /// What people call it: the path or URL it was made from, without secrets. It appears in errors and logs.
    fn label(&self) -> &Arc<str>;

    /// The root directory. Cheap: it may be called often.
    async fn root(&self) -> Result<Arc<dyn Dir>>;

    /// Sizes of the layer. The default suits layers that cannot tell.
    async fn statfs(&self) -> Result<StatFs> {
        Ok(StatFs { bsize: 4096, namelen: 255, ..StatFs::default() })
    }

    /// The attributes of an object of the layer's file system by its identity. `None` if there is no such object, it is another
    /// file system's, or the process may not ask; nothing but the inode numbers of copies depends on it.
    async fn find(&self, _id: &FileId) -> Result<Option<Attr>> {
        Ok(None)
    }

    /// Whether objects may carry POSIX ACLs or other xattrs. A mount whose layers have none saves the look-ups.
    fn has_xattrs(&self) -> bool {
        false
    }

    /// Whether directories may be opaque, or objects redirected or metacopies. A layer that never has such marks says
    /// `false` and is not asked for them; whiteouts are no marks of an object.
    fn has_marks(&self) -> bool {
        true
    }

    /// Whether [`File::backing`] of its files may be a local file.
    fn has_backing(&self) -> bool {
        false
    }
}

/// Which object a method of a directory handle means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// The directory itself.
    Itself,
    /// The object of that name in it, symbolic links not followed.
    Child(&'a Name),
}

impl<'a> Target<'a> {
    /// The child's name, if it is a child.
    pub fn name(self) -> Option<&'a Name> {
        match self {
            Self::Itself => None,
            Self::Child(name) => Some(name),
        }
    }

    /// Names the object that an error is about.
    pub(crate) fn named(self, error: Error) -> Error {
        match self {
            Self::Itself => error,
            Self::Child(name) => error.at(name),
        }
    }
}

/// A directory of a layer.
#[async_trait]
pub trait Dir: Send + Sync + 'static {
    /// The directory's own attributes.
    async fn attr(&self) -> Result<Attr>;

    /// What the layer holds under `name`.
    ///
    /// # Behaviour
    /// - `Ok(None)`: the name is absent. An object that the union cannot show (an illegal key) is absent too.
    /// - The attributes are those of the object itself; symbolic links are not followed.
    /// - Must agree with [`Dir::list`]: the same names, kinds and inode numbers.
    async fn lookup(&self, name: &Name) -> Result<Option<Found>>;

    /// The attributes of the object `name` alone; `None` where [`Dir::lookup`] finds no object. Layers for which
    /// reading the marks costs something override it.
    async fn stat(&self, name: &Name) -> Result<Option<Attr>> {
        Ok(self.lookup(name).await?.and_then(Found::entry).map(|entry| entry.attr))
    }

    /// All names, each once, in any order, without `.` and `..`. Whiteouts are listed as such.
    async fn list(&self) -> Result<Vec<ListEntry>>;

    /// A handle of the child directory `name`. `NotFound` or `NotDir` if it is none.
    async fn dir(&self, name: &Name) -> Result<Arc<dyn Dir>>;

    /// Opens the regular file `name` for reading. `NotFound` if absent, `IsDir` for a directory, `Invalid` for
    /// anything else.
    async fn file(&self, name: &Name) -> Result<Arc<dyn File>>;

    /// The target of the symbolic link `name`, as stored. `Invalid` if it is no link.
    async fn read_link(&self, name: &Name) -> Result<Vec<u8>> {
        Err(Error::new(ErrorKind::Invalid, "readlink").at(name))
    }

    /// The value of the xattr `key` (with its prefix, `user.x`); `None` if there is no such xattr.
    async fn xattr(&self, _target: Target<'_>, _key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    /// The xattr keys of the object, the union's own markers left out.
    async fn xattr_keys(&self, _target: Target<'_>) -> Result<Vec<Vec<u8>>> {
        Ok(Vec::new())
    }

    /// An identity that outlasts a mount, for layers that have such. Copies are marked with it.
    async fn id(&self, _target: Target<'_>) -> Result<Option<FileId>> {
        Ok(None)
    }

    /// Whether the object is immutable or append-only (chattr(1)), so that a union must not change or remove it.
    async fn is_protected(&self, _target: Target<'_>) -> Result<bool> {
        Ok(false)
    }

    /// The inode flags of `FS_IOC_GETFLAGS`; `NotTty` where the layer has none.
    async fn flags(&self, _target: Target<'_>) -> Result<u32> {
        Err(Error::new(ErrorKind::NotTty, "getflags"))
    }
}

/// Any object held by a handle, whatever becomes of its name.
#[async_trait]
pub trait Node: Send + Sync + 'static {
    /// The object's attributes now.
    async fn attr(&self) -> Result<Attr>;

    /// As [`Dir::xattr`].
    async fn xattr(&self, _key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    /// As [`Dir::xattr_keys`].
    async fn xattr_keys(&self) -> Result<Vec<Vec<u8>>> {
        Ok(Vec::new())
    }

    /// As [`Dir::flags`].
    async fn flags(&self) -> Result<u32> {
        Err(Error::new(ErrorKind::NotTty, "getflags"))
    }
}

/// What [`File::seek`] looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seek {
    /// The next byte of data.
    Data,
    /// The next hole; the end of the file counts as one.
    Hole,
}

/// A regular file, open for reading.
#[async_trait]
pub trait File: Node {
    /// Up to `len` bytes from `offset`. Shorter only at the end of the file; empty past it.
    ///
    /// # Errors
    /// `Stale` if the content is no longer what it was when the file was opened.
    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes>;

    /// The offset at or after `offset` where data or a hole begins, `None` if there is none before the end
    /// (`SEEK_DATA` past the last data, or any offset at or past the end). A file without holes is all data.
    async fn seek(&self, offset: u64, what: Seek) -> Result<Option<u64>> {
        let size = self.attr().await?.size;
        let found = if what == Seek::Data { offset } else { size };
        Ok((offset < size).then_some(found))
    }

    /// The local file behind it, for reflinks, `copy_file_range` and FUSE passthrough.
    fn backing(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// A tree that can be written: the upper layer and its work directory.
///
/// Root and work lie on one file system: a rename from work to anywhere in the tree is atomic, and nothing in
/// work is ever seen in the union.
#[async_trait]
pub trait UpperLayer: Layer {
    /// The root directory, writable.
    async fn upper_root(&self) -> Result<Arc<dyn UpperDir>>;

    /// The work directory: empty when the layer is opened, never part of the tree.
    async fn work(&self) -> Result<Arc<dyn UpperDir>>;

    /// The index of copies whose lower objects have several names: beside work, kept from mount to mount, and made if it is
    /// missing. `None` where there is no place for one.
    async fn index(&self) -> Result<Option<Arc<dyn UpperDir>>> {
        Ok(None)
    }

    /// Writes all that has changed to stable storage.
    async fn sync(&self) -> Result<()>;
}

/// What [`UpperDir::make`] makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Make {
    /// An empty directory with these permission bits.
    Dir(u32),
    /// A symbolic link to this target.
    Symlink(Vec<u8>),
    /// A special file or an empty regular file: kind, permission bits, device (0 unless a block or char file).
    Node(Kind, u32, u64),
}

/// How [`UpperDir::rename`] treats the two names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rename {
    /// What stands at the target is replaced, atomically.
    Replace,
    /// `Exists` if the target exists.
    NoReplace,
    /// The two objects swap names, atomically.
    Exchange,
    /// As `Replace`, and a whiteout is left at the source in the same step.
    Whiteout,
}

/// Whether a set of an xattr may create it or replace it (`setxattr(2)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetXattr {
    /// Either.
    Any,
    /// `Exists` if it exists.
    Create,
    /// `NoData` if it does not exist.
    Replace,
}

/// A directory of the upper layer, writable.
///
/// Permission bits are taken as given: no umask, no default ACL but what the file system below adds by itself.
/// New objects belong to the process's user; set owner and mode in work before publishing.
#[async_trait]
pub trait UpperDir: Dir {
    /// For implementations: two directories of one rename must be of the same type.
    fn as_any(&self) -> &dyn Any;

    /// A handle of the child directory `name`, as [`Dir::dir`]. It stays valid when the directory is renamed
    /// through [`UpperDir::rename`].
    async fn upper_dir(&self, name: &Name) -> Result<Arc<dyn UpperDir>>;

    /// Opens the regular file `name` for reading and writing.
    async fn upper_file(&self, name: &Name) -> Result<Arc<dyn UpperFile>>;

    /// A handle of the object `name`, of any kind, that outlives its name.
    async fn pin(&self, name: &Name) -> Result<Arc<dyn UpperNode>>;

    /// Creates an empty regular file and opens it for reading and writing. `Exists` if the name exists.
    async fn create(&self, name: &Name, mode: u32) -> Result<Arc<dyn UpperFile>>;

    /// Makes an object. `Exists` if the name exists.
    async fn make(&self, name: &Name, what: &Make) -> Result<()>;

    /// Makes a whiteout. `Exists` if the name exists.
    async fn whiteout(&self, name: &Name) -> Result<()>;

    /// Marks a directory opaque. Does nothing if it is so already.
    async fn set_opaque(&self, target: Target<'_>) -> Result<()>;

    /// Sets a mark of the union, or removes it (`None`); one that is not there is as good as removed. `Unsupported` where
    /// the layer has no place for it.
    async fn set_mark(&self, _target: Target<'_>, _mark: Mark, _value: Option<&[u8]>) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, "mark"))
    }

    /// Gives the object `name` a second name `to_name` in `to`. `Exists` if that exists.
    async fn link(&self, name: &Name, to: &dyn UpperDir, to_name: &Name) -> Result<()>;

    /// Removes anything but a directory, whiteouts included.
    async fn unlink(&self, name: &Name) -> Result<()>;

    /// Removes an empty directory; `NotEmpty` if it holds anything, whiteouts included.
    async fn rmdir(&self, name: &Name) -> Result<()>;

    /// Renames `name` to `to_name` in `to`, in one atomic step.
    async fn rename(&self, name: &Name, to: &dyn UpperDir, to_name: &Name, how: Rename) -> Result<()>;

    /// Changes attributes. For a symbolic link the owner and times only.
    async fn set_attr(&self, target: Target<'_>, change: &SetAttr) -> Result<()>;

    /// Sets an xattr. The key may be any but the layer's own markers.
    async fn set_xattr(&self, target: Target<'_>, key: &[u8], value: &[u8], how: SetXattr) -> Result<()>;

    /// Removes an xattr; `NoData` if there is none.
    async fn remove_xattr(&self, target: Target<'_>, key: &[u8]) -> Result<()>;

    /// Sets the inode flags of `FS_IOC_SETFLAGS`.
    async fn set_flags(&self, _target: Target<'_>, _flags: u32) -> Result<()> {
        Err(Error::new(ErrorKind::NotTty, "setflags"))
    }

    /// Writes the directory to stable storage.
    async fn sync(&self) -> Result<()>;
}

/// Any object of the upper layer, held by a handle that outlives its name.
#[async_trait]
pub trait UpperNode: Node {
    /// As [`UpperDir::set_attr`].
    async fn set_attr(&self, change: &SetAttr) -> Result<()>;

    /// As [`UpperDir::set_xattr`].
    async fn set_xattr(&self, key: &[u8], value: &[u8], how: SetXattr) -> Result<()>;

    /// As [`UpperDir::remove_xattr`].
    async fn remove_xattr(&self, key: &[u8]) -> Result<()>;

    /// As [`UpperDir::set_mark`].
    async fn set_mark(&self, _mark: Mark, _value: Option<&[u8]>) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, "mark"))
    }

    /// Opens the object, a regular file, once more: for reading, and for writing only if `write`. `Stale` where the
    /// layer cannot open what has no name.
    async fn open(&self, _write: bool) -> Result<Arc<dyn UpperFile>> {
        Err(Error::new(ErrorKind::Stale, "open"))
    }

    /// As [`UpperDir::set_flags`].
    async fn set_flags(&self, _flags: u32) -> Result<()> {
        Err(Error::new(ErrorKind::NotTty, "setflags"))
    }
}

/// What [`UpperFile::allocate`] does with a range of bytes (`fallocate(2)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocate {
    /// Reserves space and grows the file.
    Extend,
    /// Reserves space past the end without growing the file.
    KeepSize,
    /// Makes a hole; the size stays.
    PunchHole,
    /// Zeroes the range and grows the file.
    Zero,
    /// Zeroes the range; the size stays.
    ZeroKeepSize,
}

/// A regular file of the upper layer, open for reading and writing.
#[async_trait]
pub trait UpperFile: File + UpperNode {
    /// Writes all of `data` at `offset`, growing the file as needed.
    async fn write_at(&self, offset: u64, data: &[u8]) -> Result<()>;

    /// Makes the whole content a copy of `source` that shares its storage. `false`, with nothing changed, where
    /// the two cannot share.
    async fn reflink(&self, _source: &dyn File) -> Result<bool> {
        Ok(false)
    }

    /// Copies up to `len` bytes, by the kernel where it can. The count copied; 0 at the end of the source.
    async fn copy_range(&self, source: &dyn File, from: u64, to: u64, len: u64) -> Result<u64> {
        copy_through(self, source, from, to, len).await
    }

    /// As `fallocate(2)`; `Unsupported` where the layer cannot.
    async fn allocate(&self, how: Allocate, offset: u64, len: u64) -> Result<()>;

    /// Writes the content to stable storage, and with `attributes` what `fdatasync` would leave out.
    async fn sync(&self, attributes: bool) -> Result<()>;
}

/// One step of a copy through user space, as [`UpperFile::copy_range`].
pub(crate) async fn copy_through<T: UpperFile + ?Sized>(
    target: &T,
    source: &dyn File,
    from: u64,
    to: u64,
    len: u64,
) -> Result<u64> {
    let data = source.read_at(from, len.min(COPY_CHUNK) as usize).await?;
    target.write_at(to, &data).await?;
    Ok(data.len() as u64)
}

/// Bytes in one step of a copy through user space: large enough for throughput, small enough to hold in memory.
const COPY_CHUNK: u64 = 1 << 20;
