//! A declared tree: the content that a suite needs, as plain data that any layer type can be filled from.

use bytes::Bytes;

use crate::attr::{Kind, Time};
use crate::error::Result;
use crate::name::Name;

/// What a layer type can hold. The sample tree is cut to it, and promises about the rest are not tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Symbolic links.
    pub symlinks: bool,
    /// Named pipes and sockets.
    pub special_files: bool,
    /// Block and character special files (an upper needs a privilege for them).
    pub devices: bool,
    /// Deletions of names.
    pub whiteouts: bool,
    /// A rename that leaves a deletion in the same step (of an upper; without it the union takes two).
    pub rename_whiteout: bool,
    /// Directories that hide those below.
    pub opaque: bool,
    /// Extended attributes of the `user.` namespace.
    pub xattrs: bool,
    /// Owner and group (an upper needs a privilege to give a file away).
    pub owners: bool,
    /// Permission bits.
    pub modes: bool,
    /// Times of last change, to the nanosecond and on either side of 1970 and 2038.
    pub times: bool,
    /// Holes that `seek` finds.
    pub holes: bool,
    /// Two names of one file.
    pub hard_links: bool,
    /// Names that are not UTF-8.
    pub non_utf8_names: bool,
    /// Names with ASCII control characters.
    pub control_names: bool,
    /// Directories that hold nothing.
    pub empty_dirs: bool,
}

impl Capabilities {
    /// All that there is.
    pub const ALL: Self = Self::uniform(true);

    /// Files in directories and nothing else.
    pub const NONE: Self = Self::uniform(false);

    const fn uniform(can: bool) -> Self {
        Self {
            symlinks: can,
            special_files: can,
            devices: can,
            whiteouts: can,
            rename_whiteout: can,
            opaque: can,
            xattrs: can,
            owners: can,
            modes: can,
            times: can,
            holes: can,
            hard_links: can,
            non_utf8_names: can,
            control_names: can,
            empty_dirs: can,
        }
    }
}

/// What a row of a tree declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A directory.
    Dir,
    /// A regular file with this content.
    File(Bytes),
    /// A regular file of that size with data at these offsets and holes elsewhere.
    Sparse(u64, Vec<(u64, Bytes)>),
    /// A symbolic link with this target.
    Symlink(Vec<u8>),
    /// A special file and its device.
    Special(Kind, u64),
    /// One more name for the object at this path.
    HardLink(Vec<u8>),
    /// A deleted name.
    Whiteout,
}

/// One object of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Names joined by `/`, relative to the root.
    pub path: Vec<u8>,
    /// What it is.
    pub what: What,
    /// Permission bits.
    pub mode: u32,
    /// Owner and group, if declared.
    pub owner: Option<(u32, u32)>,
    /// Time of last change, if declared.
    pub time: Option<Time>,
    /// Extended attributes.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Hides the directories below it.
    pub opaque: bool,
}

impl Row {
    /// The path of the directory that holds it (empty for the root) and its name there.
    pub fn split(&self) -> (&[u8], &[u8]) {
        split(&self.path)
    }

    /// What a look-up must say it is; a hard link is as what it links to, `None` for a whiteout.
    pub fn kind(&self) -> Option<Kind> {
        match &self.what {
            What::Dir => Some(Kind::Dir),
            What::File(_) | What::Sparse(..) | What::HardLink(_) => Some(Kind::File),
            What::Symlink(_) => Some(Kind::Symlink),
            What::Special(kind, _) => Some(*kind),
            What::Whiteout => None,
        }
    }

    /// The content, if it is a regular file with one of its own.
    pub fn content(&self) -> Option<Bytes> {
        match &self.what {
            What::File(content) => Some(content.clone()),
            What::Sparse(size, parts) => Some(fill(*size, parts)),
            _ => None,
        }
    }
}

/// Objects in an order in which they can be made: a directory before what it holds, a file before its links.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    rows: Vec<Row>,
}

impl Tree {
    /// An empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an object, and directories of mode 0755 on the way to it. `mode`, `owner`, `time`, `xattr` and
    /// `opaque` concern the object added last.
    #[must_use]
    pub fn add(mut self, path: impl AsRef<[u8]>, what: What) -> Self {
        let path = path.as_ref();
        let (parent, _) = split(path);
        if !parent.is_empty() && self.row(parent).is_none() {
            self = self.add(parent, What::Dir);
        }
        let mode = if what == What::Dir { 0o755 } else { 0o644 };
        let (owner, time, xattrs, opaque) = (None, None, Vec::new(), false);
        self.rows.push(Row { path: path.into(), what, mode, owner, time, xattrs, opaque });
        self
    }

    /// Adds an object as it is; its directory must be there.
    #[must_use]
    pub fn push(mut self, row: Row) -> Self {
        self.rows.push(row);
        self
    }

    /// Adds a directory.
    #[must_use]
    pub fn dir(self, path: impl AsRef<[u8]>) -> Self {
        self.add(path, What::Dir)
    }

    /// Adds a regular file.
    #[must_use]
    pub fn file(self, path: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        self.add(path, What::File(Bytes::copy_from_slice(content.as_ref())))
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn symlink(self, path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.add(path, What::Symlink(target.as_ref().into()))
    }

    /// Adds a whiteout.
    #[must_use]
    pub fn whiteout(self, path: impl AsRef<[u8]>) -> Self {
        self.add(path, What::Whiteout)
    }

    /// Sets the permission bits.
    #[must_use]
    pub fn mode(self, mode: u32) -> Self {
        self.change(|row| row.mode = mode)
    }

    /// Sets owner and group.
    #[must_use]
    pub fn owner(self, uid: u32, gid: u32) -> Self {
        self.change(|row| row.owner = Some((uid, gid)))
    }

    /// Sets the time of last change.
    #[must_use]
    pub fn time(self, sec: i64, nsec: u32) -> Self {
        self.change(|row| row.time = Some(Time { sec, nsec }))
    }

    /// Sets an extended attribute.
    #[must_use]
    pub fn xattr(self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.change(|row| row.xattrs.push((key.as_ref().into(), value.as_ref().into())))
    }

    /// Makes the directory opaque.
    #[must_use]
    pub fn opaque(self) -> Self {
        self.change(|row| row.opaque = true)
    }

    /// All objects but the root.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The regular files and their contents: all that a simple layer type needs.
    pub fn files(&self) -> impl Iterator<Item = (&[u8], Bytes)> {
        self.rows.iter().filter_map(|row| Some((row.path.as_slice(), row.content()?)))
    }

    /// The object at `path`.
    pub fn row(&self, path: impl AsRef<[u8]>) -> Option<&Row> {
        self.rows.iter().find(|row| row.path == path.as_ref())
    }

    fn change(mut self, f: impl FnOnce(&mut Row)) -> Self {
        f(self.rows.last_mut().expect("add an object before you describe it"));
        self
    }
}

/// The names of a path.
pub fn names(path: &[u8]) -> Result<Vec<Name>> {
    path.split(|b| *b == b'/').filter(|part| !part.is_empty()).map(Name::new).collect()
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

fn fill(size: u64, parts: &[(u64, Bytes)]) -> Bytes {
    let mut content = vec![0; size as usize];
    for (offset, data) in parts {
        content[*offset as usize..][..data.len()].copy_from_slice(data);
    }
    content.into()
}
