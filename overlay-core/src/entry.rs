//! What a layer holds under one name: nothing, a whiteout, or an object with its markers.

use crate::attr::{Attr, Kind};
use crate::name::Name;

/// What a look-up finds where the name is not absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The layer deletes the name: layers below are not asked.
    Whiteout,
    /// An object.
    Entry(Entry),
}

impl Found {
    /// An object without markers.
    pub fn plain(attr: Attr) -> Self {
        Self::Entry(Entry::plain(attr))
    }

    /// The object, if it is one.
    pub fn entry(self) -> Option<Entry> {
        match self {
            Self::Entry(entry) => Some(entry),
            Self::Whiteout => None,
        }
    }
}

/// An object of a layer and the marks that the union reads from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its attributes.
    pub attr: Attr,
    /// A directory that hides what layers below hold under its name.
    pub opaque: bool,
    /// A directory or metacopy whose lower content lies under another name (`overlay.redirect`).
    pub redirect: Option<Vec<u8>>,
    /// A regular file whose data is in a layer below (`overlay.metacopy`).
    pub metacopy: bool,
    /// What it was copied up from (`overlay.origin`).
    pub origin: Option<Vec<u8>>,
    /// A directory that holds copies (`overlay.impure`).
    pub impure: bool,
    /// How many names the union shows of a file in the index (`overlay.nlink`).
    pub nlink: Option<Vec<u8>>,
}

impl Entry {
    /// An object without markers.
    pub fn plain(attr: Attr) -> Self {
        Self {
            attr,
            opaque: false,
            redirect: None,
            metacopy: false,
            origin: None,
            impure: false,
            nlink: None,
        }
    }
}

/// A mark of the union on an object of a layer. How a layer keeps it is its own affair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// On a directory: it hides what lies below.
    Opaque,
    /// On a directory or metacopy file: its lower content has another name. The value is that name, or a path from
    /// the root of the layers that begins with `/`.
    Redirect,
    /// On a regular file: its data is in a layer below.
    Metacopy,
    /// On an empty regular file in a directory that holds such files: the name is deleted.
    Whiteout,
    /// On a copy: the file handle of what it was copied from ([`FileId`]), or nothing where that had none.
    Origin,
    /// On a directory that holds copies.
    Impure,
    /// On a file in the index: how many names the union shows.
    Nlink,
}

/// The persistent identity of an object: what `name_to_handle_at(2)` tells of it, and of which file system.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FileId {
    /// The UUID of the file system; zeros where it has none.
    pub fs: [u8; 16],
    /// The type of the handle.
    pub kind: u8,
    /// The handle.
    pub handle: Vec<u8>,
}

impl Mark {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Opaque,
        Self::Redirect,
        Self::Metacopy,
        Self::Whiteout,
        Self::Origin,
        Self::Impure,
        Self::Nlink,
    ];
}

/// One row of a directory's listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListEntry {
    /// The name; never `.` or `..`.
    pub name: Name,
    /// What it is; meaningless for a whiteout.
    pub kind: Kind,
    /// The same number that `attr` reports.
    pub ino: u64,
    /// The name is deleted by this layer.
    pub whiteout: bool,
}
