//! One object of a memory layer: its attributes, its body, and the changes that concern it alone.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use super::content::Content;
use crate::attr::{Attr, Kind, SetAttr, SetTime, Time};
use crate::entry::{Entry, Found, Mark};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::layer::SetXattr;
use crate::name::Name;

/// The longest xattr value, as Linux has it (`XATTR_SIZE_MAX`).
const XATTR_SIZE_MAX: usize = 65536;

/// The longest xattr key, as Linux has it (`XATTR_NAME_MAX`).
const XATTR_NAME_MAX: usize = 255;

pub(super) struct Inode {
    pub(super) body: Body,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) nlink: u32,
    pub(super) atime: Time,
    pub(super) mtime: Time,
    pub(super) ctime: Time,
    pub(super) flags: u32,
    /// Handles that keep it alive when it has no name.
    pub(super) handles: u32,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    marks: BTreeMap<Mark, Vec<u8>>,
}

pub(super) enum Body {
    File(Content),
    Dir(Entries),
    Symlink(Vec<u8>),
    /// A special file and its device.
    Special(Kind, u64),
    Whiteout,
}

/// What a directory holds.
pub(super) struct Entries {
    pub(super) names: BTreeMap<Name, u64>,
    pub(super) parent: u64,
}

impl Body {
    pub(super) fn empty_dir(parent: u64) -> Self {
        Self::Dir(Entries { names: BTreeMap::new(), parent })
    }

    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::File(_) => Kind::File,
            Self::Dir(_) => Kind::Dir,
            Self::Symlink(_) => Kind::Symlink,
            Self::Special(kind, _) => *kind,
            Self::Whiteout => Kind::Char,
        }
    }
}

impl Inode {
    /// An object without a name yet; a directory counts its own `.` and the name it will get.
    pub(super) fn new(body: Body, mode: u32, time: Time) -> Self {
        let nlink = if matches!(body, Body::Dir(_)) { 2 } else { 0 };
        let (uid, gid, flags, handles) = (0, 0, 0, 0);
        let (atime, mtime, ctime) = (time, time, time);
        let (xattrs, marks) = (BTreeMap::new(), BTreeMap::new());
        let mode = mode & 0o7777;
        Self { body, mode, uid, gid, nlink, atime, mtime, ctime, flags, handles, xattrs, marks }
    }

    pub(super) fn is_dir(&self) -> bool {
        matches!(self.body, Body::Dir(_))
    }

    pub(super) fn entries(&self) -> Result<&Entries> {
        match &self.body {
            Body::Dir(entries) => Ok(entries),
            _ => Err(Error::new(ErrorKind::NotDir, "lookup")),
        }
    }

    pub(super) fn entries_mut(&mut self) -> Result<&mut Entries> {
        match &mut self.body {
            Body::Dir(entries) => Ok(entries),
            _ => Err(Error::new(ErrorKind::NotDir, "lookup")),
        }
    }

    pub(super) fn content(&self) -> Result<&Content> {
        match &self.body {
            Body::File(content) => Ok(content),
            body => Err(not_a_file(body, "read")),
        }
    }

    pub(super) fn content_mut(&mut self) -> Result<&mut Content> {
        match &mut self.body {
            Body::File(content) => Ok(content),
            body => Err(not_a_file(body, "write")),
        }
    }

    pub(super) fn attr(&self, ino: u64) -> Attr {
        let mut attr = Attr::new(self.body.kind(), ino, self.mode, 0, self.mtime);
        match &self.body {
            Body::File(content) => content.describe(&mut attr),
            Body::Dir(entries) => attr.size = entries.names.len() as u64,
            Body::Symlink(target) => attr.size = target.len() as u64,
            Body::Special(_, rdev) => attr.rdev = *rdev,
            Body::Whiteout => {}
        }
        let Self { nlink, uid, gid, atime, ctime, .. } = *self;
        Attr { nlink, uid, gid, atime, ctime, ..attr }
    }

    /// The object with its marks, as a look-up answers.
    pub(super) fn found(&self, ino: u64) -> Found {
        let mark = |mark| self.marks.get(&mark).cloned();
        match &self.body {
            Body::Whiteout => Found::Whiteout,
            Body::Dir(_) | Body::File(_) => Found::Entry(Entry {
                attr: self.attr(ino),
                opaque: self.is_dir() && mark(Mark::Opaque).is_some(),
                redirect: mark(Mark::Redirect),
                metacopy: !self.is_dir() && mark(Mark::Metacopy).is_some(),
                origin: mark(Mark::Origin),
                impure: self.is_dir() && mark(Mark::Impure).is_some(),
                nlink: mark(Mark::Nlink),
            }),
            _ => Found::plain(self.attr(ino)),
        }
    }

    /// Sets a mark, or removes it. Only directories and regular files have marks.
    pub(super) fn set_mark(&mut self, mark: Mark, value: Option<&[u8]>) -> Result<()> {
        if !matches!(self.body, Body::File(_) | Body::Dir(_)) {
            return Err(Error::new(ErrorKind::NotPermitted, "mark"));
        }
        match value {
            Some(value) => drop(self.marks.insert(mark, value.into())),
            None => drop(self.marks.remove(&mark)),
        }
        self.ctime = now();
        Ok(())
    }

    /// Sets the times that a change of content sets.
    pub(super) fn touch(&mut self) {
        self.mtime = now();
        self.ctime = self.mtime;
    }

    pub(super) fn set_times(&mut self, time: Time) {
        (self.atime, self.mtime, self.ctime) = (time, time, time);
    }

    /// Inode flags are kept, not obeyed: what they mean is the union's business.
    pub(super) fn set_flags(&mut self, flags: u32) {
        self.flags = flags;
        self.ctime = now();
    }

    pub(super) fn set_attr(&mut self, change: &SetAttr) -> Result<()> {
        if change.is_empty() {
            return Ok(());
        }
        if change.mode.is_some() && matches!(self.body, Body::Symlink(_)) {
            return Err(Error::new(ErrorKind::Unsupported, "chmod"));
        }
        let now = now();
        if let Some(size) = change.size {
            self.content_mut()?.resize(size)?;
            self.mtime = now;
        }
        let at = |time: SetTime| if let SetTime::At(time) = time { time } else { now };
        self.mode = change.mode.map_or(self.mode, |mode| mode & 0o7777);
        self.uid = change.uid.unwrap_or(self.uid);
        self.gid = change.gid.unwrap_or(self.gid);
        self.atime = change.atime.map_or(self.atime, at);
        self.mtime = change.mtime.map_or(self.mtime, at);
        self.ctime = now;
        Ok(())
    }

    pub(super) fn xattr(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.xattrs.get(key).cloned()
    }

    pub(super) fn xattr_keys(&self) -> Vec<Vec<u8>> {
        self.xattrs.keys().cloned().collect()
    }

    pub(super) fn set_xattr(&mut self, key: &[u8], value: &[u8], how: SetXattr) -> Result<()> {
        let error = |kind| Err(Error::new(kind, "setxattr"));
        if key.is_empty() || key.len() > XATTR_NAME_MAX {
            return error(ErrorKind::Range);
        }
        if value.len() > XATTR_SIZE_MAX {
            return error(ErrorKind::TooLarge);
        }
        let may_have_user = matches!(self.body, Body::File(_) | Body::Dir(_));
        if key.starts_with(b"user.") && !may_have_user {
            return error(ErrorKind::NotPermitted);
        }
        match (how, self.xattrs.contains_key(key)) {
            (SetXattr::Create, true) => return error(ErrorKind::Exists),
            (SetXattr::Replace, false) => return error(ErrorKind::NoData),
            _ => self.xattrs.insert(key.into(), value.into()),
        };
        self.ctime = now();
        Ok(())
    }

    pub(super) fn remove_xattr(&mut self, key: &[u8]) -> Result<()> {
        self.xattrs.remove(key).ok_or_else(|| Error::new(ErrorKind::NoData, "removexattr"))?;
        self.ctime = now();
        Ok(())
    }
}

fn not_a_file(body: &Body, op: &'static str) -> Error {
    let kind = match body {
        Body::Dir(_) => ErrorKind::IsDir,
        _ => ErrorKind::Invalid,
    };
    Error::new(kind, op)
}

/// The time of the system's clock; before 1970 the seconds are rounded down.
pub(super) fn now() -> Time {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(after) => Time { sec: after.as_secs() as i64, nsec: after.subsec_nanos() },
        Err(before) => {
            let nanos = -(before.duration().as_nanos() as i128);
            Time { sec: nanos.div_euclid(1_000_000_000) as i64, nsec: nanos.rem_euclid(1_000_000_000) as u32 }
        }
    }
}
