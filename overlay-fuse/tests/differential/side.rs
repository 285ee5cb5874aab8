//! One of the two mounts: an operation goes in, what a program would see comes out.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs as sys;
use rustix::fs::XattrFlags;
use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags, Timestamps};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::flags::{at_flags, fallocate_flags, open_flags, rename_flags, time, xattr_flags};
use super::op::{Data, Op, SLOTS, Slot, Step, WriteHow};
use super::tree::{Tree, attributes, show_kind, tree};

/// What a program sees of an operation: a description of the data, or the errno.
pub type Outcome = Result<String, Errno>;

pub struct Side {
    root: PathBuf,
    handles: [Option<OwnedFd>; SLOTS],
    recent: i64,
    sort: Sort,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// It lists whiteouts of a directory that does not merge, though there is nothing to be found under the name.
    Kernel,
    Ours,
}

impl Side {
    pub fn new(root: PathBuf, sort: Sort, recent: i64) -> Self {
        Self { root, handles: Default::default(), recent, sort }
    }

    pub fn tree(&self) -> Tree {
        tree(&self.root, self.recent, self.sort)
    }

    pub fn close_all(&mut self) {
        self.handles = Default::default();
    }

    pub fn apply(&mut self, step: &Step) -> Outcome {
        if let Some(slot) = step.op.changes_attributes_of()
            && self.handles[slot].as_ref().is_some_and(is_removed_dir)
        {
            return Ok(String::from("not asked of a removed directory"));
        }
        if step.user {
            become_user(1000);
        }
        let outcome = self.run(&step.op);
        if step.user {
            become_user(0);
        }
        outcome
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    fn held(&self, slot: Slot) -> Result<&OwnedFd, Errno> {
        self.handles[slot].as_ref().ok_or(Errno::BADF)
    }

    fn run(&mut self, op: &Op) -> Outcome {
        match op {
            Op::Open { slot, path, how } => {
                let opened = self.open(path, open_flags(*how));
                self.handles[*slot] = None;
                self.handles[*slot] = Some(opened?);
                done(Ok(()))
            }
            Op::Close { slot } => {
                self.handles[*slot] = None;
                done(Ok(()))
            }
            Op::Remount => done(Ok(())),
            _ => self
                .on_names(op)
                .or_else(|| self.on_content(op))
                .or_else(|| self.on_attributes(op))
                .unwrap_or_else(|| self.on_handle(op)),
        }
    }

    fn open(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        sys::open(self.at(path), flags | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY, 0o666.into())
    }

    fn on_names(&self, op: &Op) -> Option<Outcome> {
        Some(done(match op {
            Op::Create { path, exclusive, mode } => {
                let exclusive = if *exclusive { OFlags::EXCL } else { OFlags::empty() };
                let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NONBLOCK | exclusive;
                sys::open(self.at(path), flags, Mode::from_raw_mode(*mode)).map(drop)
            }
            Op::Mkdir { path, mode } => sys::mkdir(self.at(path), Mode::from_raw_mode(*mode)),
            Op::Rmdir { path } => sys::rmdir(self.at(path)),
            Op::RemoveAll { path, remake } => {
                io(fs::remove_dir_all(self.at(path))).and_then(|()| match remake {
                    true => sys::mkdir(self.at(path), 0o755.into()),
                    false => Ok(()),
                })
            }
            Op::Unlink { path } => sys::unlink(self.at(path)),
            Op::Symlink { target, path } => sys::symlink(target.as_str(), self.at(path)),
            Op::Mkfifo { path, mode } => {
                sys::mknodat(CWD, self.at(path), FileType::Fifo, Mode::from_raw_mode(*mode), 0)
            }
            Op::Mkdev { path, minor } => self.device(path, sys::makedev(1, *minor)),
            Op::MakeWhiteout { path } => self.device(path, 0),
            Op::Link { from, to } => sys::link(self.at(from), self.at(to)),
            Op::Rename { from, to, how } => {
                sys::renameat_with(CWD, self.at(from), CWD, self.at(to), rename_flags(*how))
            }
            _ => return None,
        }))
    }

    fn device(&self, path: &str, rdev: u64) -> Result<(), Errno> {
        sys::mknodat(CWD, self.at(path), FileType::CharacterDevice, 0o666.into(), rdev)
    }

    fn on_content(&self, op: &Op) -> Option<Outcome> {
        Some(match op {
            Op::Write { path, how, offset, data } => self.write(path, *how, *offset, *data),
            Op::Read { path, offset, len } => {
                self.open(path, OFlags::RDONLY).and_then(|fd| read(&fd, *offset, *len))
            }
            Op::Truncate { path, size } => {
                self.open(path, OFlags::WRONLY).and_then(|fd| done(sys::ftruncate(&fd, *size)))
            }
            Op::Fallocate { path, how, offset, len } => self
                .open(path, OFlags::RDWR)
                .and_then(|fd| done(sys::fallocate(&fd, fallocate_flags(*how), *offset, *len))),
            Op::Seek { path, offset, data } => {
                self.open(path, OFlags::RDONLY).and_then(|fd| seek(&fd, *offset, *data))
            }
            Op::CopyRange { from, from_offset, to, to_offset, len } => {
                let from = self.open(from, OFlags::RDONLY);
                let to = self.open(to, OFlags::WRONLY);
                from.and_then(|from| copy(&from, *from_offset, &to?, *to_offset, *len))
            }
            Op::Fsync { path } => self.open(path, OFlags::RDONLY).and_then(|fd| done(sys::fsync(&fd))),
            Op::Readlink { path } => {
                sys::readlink(self.at(path), Vec::new()).map(|target| show_bytes(target.as_bytes()))
            }
            Op::Readdir { path } => list(&self.at(path), self.sort),
            _ => return None,
        })
    }

    fn write(&self, path: &str, how: WriteHow, offset: u64, data: Data) -> Outcome {
        let flags = match how {
            WriteHow::Plain => OFlags::empty(),
            WriteHow::Append => OFlags::APPEND,
            WriteHow::Truncate => OFlags::TRUNC,
        };
        write(&self.open(path, OFlags::WRONLY | flags)?, offset, data)
    }

    fn on_attributes(&self, op: &Op) -> Option<Outcome> {
        Some(match op {
            Op::Chmod { path, mode } => done(sys::chmod(self.at(path), Mode::from_raw_mode(*mode))),
            Op::Chown { path, uid, gid, follow } => {
                let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
                done(sys::chownat(CWD, self.at(path), uid, gid, at_flags(*follow)))
            }
            Op::Utimens { path, atime, mtime, follow } => {
                let times = Timestamps { last_access: time(*atime), last_modification: time(*mtime) };
                done(sys::utimensat(CWD, self.at(path), &times, at_flags(*follow)))
            }
            Op::SetXattr { path, key, value: v, how } => {
                done(sys::lsetxattr(self.at(path), *key, &value(key, *v), xattr_flags(*how)))
            }
            Op::GetXattr { path, key } => get_xattr(|buffer| sys::lgetxattr(self.at(path), *key, buffer)),
            Op::ListXattr { path } => io(xattr_list(&self.at(path))).map(|keys| format!("{keys:?}")),
            Op::RemoveXattr { path, key } => done(sys::lremovexattr(self.at(path), *key)),
            Op::Access { path, mask } => {
                done(sys::accessat(CWD, self.at(path), Access::from_bits_truncate(*mask), AtFlags::empty()))
            }
            Op::Stat { path, follow } => {
                let path = self.at(path);
                let meta = if *follow { fs::metadata(path) } else { fs::symlink_metadata(path) };
                io(meta).map(|meta| self.show(&meta))
            }
            _ => return None,
        })
    }

    fn on_handle(&self, op: &Op) -> Outcome {
        if let Some(slot) = op.changes_attributes_of() {
            let kind = FileType::from_raw_mode(sys::fstat(self.held(slot)?)?.st_mode);
            if !matches!(kind, FileType::RegularFile | FileType::Directory) {
                return Ok(String::from("not asked of a special file"));
            }
        }
        match op {
            Op::HandleRead { slot, offset, len } => read(self.held(*slot)?, *offset, *len),
            Op::HandleWrite { slot, offset, data } => write(self.held(*slot)?, *offset, *data),
            Op::HandleTruncate { slot, size } => done(sys::ftruncate(self.held(*slot)?, *size)),
            Op::HandleChmod { slot, mode } => {
                done(sys::fchmod(self.held(*slot)?, Mode::from_raw_mode(*mode)))
            }
            Op::HandleChown { slot, uid } => {
                done(sys::fchown(self.held(*slot)?, Some(Uid::from_raw(*uid)), None))
            }
            Op::HandleUtimens { slot, mtime } => {
                let times = Timestamps { last_access: time(Some(5)), last_modification: time(Some(*mtime)) };
                done(sys::futimens(self.held(*slot)?, &times))
            }
            Op::HandleStat { slot } => self.stat_handle(*slot),
            Op::HandleIs { slot, path } => {
                let ino = sys::fstat(self.held(*slot)?)?.st_ino;
                Ok((sys::lstat(self.at(path))?.st_ino == ino).to_string())
            }
            Op::HandleSync { slot } => done(sys::fsync(self.held(*slot)?)),
            Op::HandleSetXattr { slot, key, value: v } => {
                done(sys::fsetxattr(self.held(*slot)?, *key, &value(key, *v), XattrFlags::empty()))
            }
            Op::HandleGetXattr { slot, key } => {
                let fd = self.held(*slot)?;
                get_xattr(|buffer| sys::fgetxattr(fd, *key, buffer))
            }
            Op::HandleListXattr { slot } => {
                let mut keys = vec![0; 4096];
                let len = sys::flistxattr(self.held(*slot)?, &mut keys)?;
                Ok(format!("{:?}", split_keys(&keys[..len])))
            }
            _ => self.on_handle_more(op),
        }
    }

    fn on_handle_more(&self, op: &Op) -> Outcome {
        match op {
            Op::HandleReaddir { slot } => read_dir_handle(self.held(*slot)?, self.sort),
            Op::HandleReadlink { slot } => {
                sys::readlinkat(self.held(*slot)?, "", Vec::new()).map(|target| show_bytes(target.as_bytes()))
            }
            Op::HandleSeek { slot, offset, data } => seek(self.held(*slot)?, *offset, *data),
            Op::HandleFallocate { slot, how, offset, len } => {
                done(sys::fallocate(self.held(*slot)?, fallocate_flags(*how), *offset, *len))
            }
            Op::CopyHandles { from, to, len } => copy(self.held(*from)?, 0, self.held(*to)?, 4096, *len),
            Op::MkdirIn { slot, name } => done(sys::mkdirat(self.held(*slot)?, name.as_str(), 0o755.into())),
            Op::CreateIn { slot, name } => {
                let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NONBLOCK;
                done(sys::openat(self.held(*slot)?, name.as_str(), flags, 0o644.into()).map(drop))
            }
            Op::UnlinkIn { slot, name } => {
                done(sys::unlinkat(self.held(*slot)?, name.as_str(), AtFlags::empty()))
            }
            Op::LinkHandle { slot, path } => {
                done(sys::linkat(self.held(*slot)?, "", CWD, self.at(path), AtFlags::EMPTY_PATH))
            }
            other => unreachable!("{other:?}"),
        }
    }

    fn stat_handle(&self, slot: Slot) -> Outcome {
        let file = io(self.held(slot)?.try_clone().map(fs::File::from))?;
        let meta = io(file.metadata())?;
        Ok(self.show(&meta))
    }

    /// Attributes; of the link count whether there is a link. The trees hold the count.
    fn show(&self, meta: &fs::Metadata) -> String {
        let mut facts = attributes(meta, self.recent);
        if let Some(count) = facts.get_mut("nlink").filter(|count| *count != "0") {
            *count = String::from("some");
        }
        facts.remove("merged");
        format!("{facts:?}")
    }
}

fn is_removed_dir(fd: &OwnedFd) -> bool {
    let kind = sys::fstat(fd).map(|stat| FileType::from_raw_mode(stat.st_mode));
    let path = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap();
    kind == Ok(FileType::Directory) && path.as_os_str().as_bytes().ends_with(b" (deleted)")
}

fn become_user(id: u32) {
    let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
    let root = Uid::from_raw(0);
    if id == 0 {
        // Root again first: it takes privilege to change the groups.
        set_thread_res_uid(root, root, root).unwrap();
    }
    set_thread_groups(&[]).unwrap();
    set_thread_res_gid(gid, gid, Gid::from_raw(0)).unwrap();
    set_thread_res_uid(uid, uid, root).unwrap();
}

fn done(result: Result<(), Errno>) -> Outcome {
    result.map(|()| String::from("done"))
}

fn io<T>(result: std::io::Result<T>) -> Result<T, Errno> {
    result.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::NODATA))
}

fn read(fd: &OwnedFd, offset: u64, len: usize) -> Outcome {
    let mut buffer = vec![0; len];
    let len = rustix::io::pread(fd, buffer.as_mut_slice(), offset)?;
    Ok(show_bytes(&buffer[..len]))
}

fn write(fd: &OwnedFd, offset: u64, data: Data) -> Outcome {
    let written = rustix::io::pwrite(fd, &vec![data.fill; data.len], offset)?;
    Ok(format!("{written} written"))
}

fn seek(fd: &OwnedFd, offset: u64, data: bool) -> Outcome {
    if FileType::from_raw_mode(sys::fstat(fd)?.st_mode) == FileType::Directory {
        return Ok(String::from("not asked of a directory"));
    }
    let to = if data { sys::SeekFrom::Data(offset) } else { sys::SeekFrom::Hole(offset) };
    sys::seek(fd, to).map(|at| at.to_string())
}

fn copy(from: &OwnedFd, mut from_at: u64, to: &OwnedFd, mut to_at: u64, len: usize) -> Outcome {
    let copied = sys::copy_file_range(from, Some(&mut from_at), to, Some(&mut to_at), len)?;
    Ok(format!("{copied} copied"))
}

fn list(path: &Path, sort: Sort) -> Outcome {
    let mut names = Vec::new();
    for entry in io(fs::read_dir(path))? {
        let entry = io(entry)?;
        if sort == Sort::Kernel && matches!(sys::lstat(entry.path()), Err(Errno::NOENT)) {
            continue;
        }
        names.push(format!("{:?} {}", entry.file_name(), show_kind(io(entry.file_type())?)));
    }
    names.sort();
    Ok(format!("{names:?}"))
}

fn read_dir_handle(fd: &OwnedFd, sort: Sort) -> Outcome {
    let mut names = Vec::new();
    for entry in sys::Dir::read_from(fd.as_fd())? {
        let entry = entry?;
        let stale =
            || matches!(sys::statat(fd, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW), Err(Errno::NOENT));
        if sort == Sort::Kernel && entry.file_name() != c".." && stale() {
            continue;
        }
        names.push(format!("{:?} {:?}", entry.file_name(), entry.file_type()));
    }
    names.sort();
    Ok(format!("{names:?}"))
}

fn get_xattr(get: impl FnOnce(&mut [u8]) -> Result<usize, Errno>) -> Outcome {
    let mut buffer = vec![0; 1024];
    let len = get(&mut buffer)?;
    Ok(show_bytes(&buffer[..len]))
}

pub fn xattr_value(path: &Path, key: &str) -> std::io::Result<Vec<u8>> {
    let mut buffer = vec![0; 1024];
    let len = sys::lgetxattr(path, key, &mut buffer[..])?;
    buffer.truncate(len);
    Ok(buffer)
}

pub fn xattr_list(path: &Path) -> std::io::Result<Vec<String>> {
    let mut keys = vec![0_u8; 4096];
    let len = sys::llistxattr(path, &mut keys[..])?;
    Ok(split_keys(&keys[..len]))
}

fn split_keys(keys: &[u8]) -> Vec<String> {
    let keys = keys.split(|byte| *byte == 0).filter(|key| !key.is_empty());
    let mut keys: Vec<_> = keys.map(|key| String::from_utf8_lossy(key).into_owned()).collect();
    keys.sort();
    keys
}

/// A value for a key: ACLs for the keys that take ACLs.
pub fn value(key: &str, number: u8) -> Vec<u8> {
    if !key.starts_with("system.") {
        return vec![b'v'; number.into()];
    }
    let n = u16::from(number);
    let mut rows = vec![(1_u16, 7, !0_u32)];
    if number > 2 {
        rows.push((2, n, 1000));
    }
    rows.push((4, n & 7, !0));
    if number > 2 {
        rows.push((16, 7, !0));
    }
    rows.push((32, n & 5, !0));
    let mut acl = 2_u32.to_le_bytes().to_vec();
    for (tag, perm, id) in rows {
        acl.extend(tag.to_le_bytes());
        acl.extend(perm.to_le_bytes());
        acl.extend(id.to_le_bytes());
    }
    acl
}

/// Short enough to print, exact enough to compare.
pub fn show_bytes(bytes: &[u8]) -> String {
    if bytes.len() <= 24 {
        return format!("{:?}", String::from_utf8_lossy(bytes));
    }
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("{} bytes #{:x}", bytes.len(), hasher.finish())
}
