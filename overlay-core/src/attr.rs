//! Attributes of a file-system object, and changes to them.

/// The type of an object (`S_IFMT`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A block device.
    Block,
    /// A character device.
    Char,
}

/// A point in time: seconds since 1970-01-01 UTC (negative before it) and 0 to 999,999,999 nanoseconds after
/// that second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Time {
    /// Whole seconds since 1970; rounded down for times before it.
    pub sec: i64,
    /// Nanoseconds after `sec`, below 1,000,000,000.
    pub nsec: u32,
}

/// The attributes of an object, as `stat` reports them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attr {
    /// What it is.
    pub kind: Kind,
    /// The inode number within its layer; unique there among the objects of one `dev`, constant while mounted.
    pub ino: u64,
    /// Tells apart several file systems within one layer; 0 where there is but one.
    pub dev: u64,
    /// Permission bits with set-user-ID, set-group-ID and sticky (`0o7777`).
    pub mode: u32,
    /// How many names the object has.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// The device that a block or character special file stands for, as `makedev` encodes it; 0 otherwise.
    pub rdev: u64,
    /// Bytes of content; the target's length for a symbolic link.
    pub size: u64,
    /// Allocated units of 512 bytes.
    pub blocks: u64,
    /// The preferred unit of input and output, in bytes.
    pub blksize: u32,
    /// Last access.
    pub atime: Time,
    /// Last change of the content.
    pub mtime: Time,
    /// Last change of the attributes.
    pub ctime: Time,
}

impl Attr {
    /// Attributes of an object that has none of its own: owner root, one name, all times `time`.
    pub fn new(kind: Kind, ino: u64, mode: u32, size: u64, time: Time) -> Self {
        let blocks = size.div_ceil(512);
        let (atime, mtime, ctime) = (time, time, time);
        let (dev, nlink, uid, gid, rdev, blksize) = (0, 1, 0, 0, 0, 4096);
        Self { kind, ino, dev, mode, nlink, uid, gid, rdev, size, blocks, blksize, atime, mtime, ctime }
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind == Kind::Dir
    }
}

/// A new value for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    /// The moment of the change, as the layer's clock has it.
    Now,
    /// A given time.
    At(Time),
}

/// A change of attributes; `None` leaves a value as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetAttr {
    /// New permission bits (`0o7777`).
    pub mode: Option<u32>,
    /// New owner.
    pub uid: Option<u32>,
    /// New group.
    pub gid: Option<u32>,
    /// New length in bytes; longer than before leaves a hole.
    pub size: Option<u64>,
    /// New time of last access.
    pub atime: Option<SetTime>,
    /// New time of last change.
    pub mtime: Option<SetTime>,
}

impl SetAttr {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Everything that a copy must carry over: owner, mode and times, not the length.
    pub fn copy_of(attr: &Attr) -> Self {
        Self {
            mode: (attr.kind != Kind::Symlink).then_some(attr.mode),
            uid: Some(attr.uid),
            gid: Some(attr.gid),
            size: None,
            atime: Some(SetTime::At(attr.atime)),
            mtime: Some(SetTime::At(attr.mtime)),
        }
    }
}

/// Numbers of a file system, as `statvfs` reports them; in units of `bsize` bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatFs {
    /// Unit of the block counts, bytes.
    pub bsize: u32,
    /// Blocks in all.
    pub blocks: u64,
    /// Free blocks.
    pub bfree: u64,
    /// Free blocks for ordinary users.
    pub bavail: u64,
    /// Inodes in all.
    pub files: u64,
    /// Free inodes.
    pub ffree: u64,
    /// The longest name, bytes.
    pub namelen: u32,
}
