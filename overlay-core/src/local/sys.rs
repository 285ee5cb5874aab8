//! The system calls of the local-directory layer, each with its errno and nothing else decided.
//!
//! The only file of the crate that asks the kernel for anything. Names are single components relative to a
//! directory descriptor; no call follows a symbolic link. Xattrs of a child are reached through
//! `/proc/self/fd/N/name`, since Linux has no `getxattrat` before 6.13.

use std::io::Write as _;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    self, AtFlags, CWD, FallocateFlags, FileType, FlockOperation, Gid, IFlags, Mode, OFlags, RawDir,
    RenameFlags, ResolveFlags, SeekFrom, Stat, StatxAttributes, StatxFlags, Timespec, Timestamps, UTIME_NOW,
    UTIME_OMIT, Uid, XattrFlags,
};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

use crate::attr::{Attr, Kind, SetTime, StatFs, Time};
use crate::layer::{Allocate, Rename, Seek, SetXattr};

pub(super) type Sys<T> = rustix::io::Result<T>;

/// Opens a path as a directory descriptor that only names it.
pub(super) fn open_path(path: &Path) -> Sys<OwnedFd> {
    fs::openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// A private copy of the mount below `fd` without the mounts inside it: nothing that is mounted later can be
/// reached through it. Needs the privilege to mount.
pub(super) fn clone_mount(fd: BorrowedFd<'_>) -> Sys<OwnedFd> {
    let empty = OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(fd, "", OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | empty)
}

/// Opens the child directory `name`, or the directories `name` leads to where it is a relative path.
pub(super) fn open_dir(dir: BorrowedFd<'_>, name: &[u8], beneath: bool) -> Sys<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    open(dir, name, flags, beneath)
}

/// Opens any child for naming it.
pub(super) fn open_node(dir: BorrowedFd<'_>, name: &[u8], beneath: bool) -> Sys<OwnedFd> {
    open(dir, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, beneath)
}

/// Opens the regular file `name`. Never blocks on a pipe, never sets the access time where that is allowed.
pub(super) fn open_file(dir: BorrowedFd<'_>, name: &[u8], writable: bool) -> Sys<OwnedFd> {
    let access = if writable { OFlags::RDWR } else { OFlags::RDONLY };
    let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    match fs::openat(dir, name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => fs::openat(dir, name, flags, Mode::empty()),
        other => other,
    }
}

fn open(dir: BorrowedFd<'_>, name: &[u8], flags: OFlags, beneath: bool) -> Sys<OwnedFd> {
    if beneath {
        fs::openat2(dir, name, flags, Mode::empty(), ResolveFlags::NO_XDEV | ResolveFlags::BENEATH)
    } else {
        fs::openat(dir, name, flags, Mode::empty())
    }
}

/// Opens what a descriptor names once more, for input and output.
pub(super) fn reopen(fd: BorrowedFd<'_>, flags: OFlags) -> Sys<OwnedFd> {
    let open = |flags| fs::openat(CWD, proc_path(fd, b""), flags | OFlags::CLOEXEC, Mode::empty());
    match open(flags | OFlags::NOATIME) {
        Err(Errno::PERM) => open(flags),
        other => other,
    }
}

/// Creates a regular file and opens it for reading and writing.
pub(super) fn create(dir: BorrowedFd<'_>, name: &[u8], mode: u32) -> Sys<OwnedFd> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(dir, name, flags, Mode::from_raw_mode(mode))
}

/// `fstatat` of a child, or of the directory itself for an empty name.
pub(super) fn stat(dir: BorrowedFd<'_>, name: &[u8]) -> Sys<Attr> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::EMPTY_PATH;
    fs::statat(dir, name, flags).map(|stat| attr(&stat))
}

/// Whether an object is immutable or append-only; asked without opening it.
pub(super) fn is_protected(dir: BorrowedFd<'_>, name: &[u8]) -> Sys<bool> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::EMPTY_PATH;
    let stat = fs::statx(dir, name, flags, StatxFlags::empty())?;
    let protected = StatxAttributes::IMMUTABLE | StatxAttributes::APPEND;
    Ok(stat.stx_attributes.intersects(protected))
}

fn attr(stat: &Stat) -> Attr {
    // On 32-bit machines the fields are narrower.
    let time = |sec, nsec| Time { sec, nsec: nsec as u32 };
    Attr {
        kind: kind(FileType::from_raw_mode(stat.st_mode)),
        ino: stat.st_ino,
        dev: stat.st_dev,
        mode: stat.st_mode & 0o7777,
        nlink: stat.st_nlink as u32,
        uid: stat.st_uid,
        gid: stat.st_gid,
        rdev: stat.st_rdev,
        size: stat.st_size as u64,
        blocks: stat.st_blocks as u64,
        blksize: stat.st_blksize as u32,
        atime: time(stat.st_atime, stat.st_atime_nsec),
        mtime: time(stat.st_mtime, stat.st_mtime_nsec),
        ctime: time(stat.st_ctime, stat.st_ctime_nsec),
    }
}

/// A type that the kernel does not tell is shown as a socket: nothing is ever read from it.
fn kind(file_type: FileType) -> Kind {
    match file_type {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Dir,
        FileType::Symlink => Kind::Symlink,
        FileType::Fifo => Kind::Fifo,
        FileType::BlockDevice => Kind::Block,
        FileType::CharacterDevice => Kind::Char,
        FileType::Socket | FileType::Unknown => Kind::Socket,
    }
}

/// One row of `getdents64`.
pub(super) struct Row {
    pub(super) name: Vec<u8>,
    pub(super) ino: u64,
    /// `None` where the file system does not tell.
    pub(super) kind: Option<Kind>,
}

/// Reads a whole directory, `.` and `..` left out.
pub(super) fn list(dir: BorrowedFd<'_>) -> Sys<Vec<Row>> {
    let fd = reopen_dir(dir)?;
    let mut buffer = [MaybeUninit::uninit(); 32 << 10];
    let mut raw = RawDir::new(fd, &mut buffer);
    let mut rows = Vec::new();
    while let Some(entry) = raw.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            let known = (entry.file_type() != FileType::Unknown).then(|| kind(entry.file_type()));
            rows.push(Row { name: name.to_vec(), ino: entry.ino(), kind: known });
        }
    }
    Ok(rows)
}

pub(super) fn read_link(dir: BorrowedFd<'_>, name: &[u8]) -> Sys<Vec<u8>> {
    fs::readlinkat(dir, name, Vec::new()).map(std::ffi::CString::into_bytes)
}

pub(super) fn mkdir(dir: BorrowedFd<'_>, name: &[u8], mode: u32) -> Sys<()> {
    fs::mkdirat(dir, name, Mode::from_raw_mode(mode))
}

pub(super) fn symlink(dir: BorrowedFd<'_>, name: &[u8], target: &[u8]) -> Sys<()> {
    fs::symlinkat(target, dir, name)
}

pub(super) fn mknod(dir: BorrowedFd<'_>, name: &[u8], kind: Kind, mode: u32, rdev: u64) -> Sys<()> {
    let file_type = match kind {
        Kind::File => FileType::RegularFile,
        Kind::Fifo => FileType::Fifo,
        Kind::Socket => FileType::Socket,
        Kind::Block => FileType::BlockDevice,
        Kind::Char => FileType::CharacterDevice,
        Kind::Dir | Kind::Symlink => return Err(Errno::INVAL),
    };
    fs::mknodat(dir, name, file_type, Mode::from_raw_mode(mode), rdev)
}

pub(super) fn link(dir: BorrowedFd<'_>, name: &[u8], to: BorrowedFd<'_>, to_name: &[u8]) -> Sys<()> {
    fs::linkat(dir, name, to, to_name, AtFlags::empty())
}

pub(super) fn unlink(dir: BorrowedFd<'_>, name: &[u8]) -> Sys<()> {
    fs::unlinkat(dir, name, AtFlags::empty())
}

pub(super) fn rmdir(dir: BorrowedFd<'_>, name: &[u8]) -> Sys<()> {
    fs::unlinkat(dir, name, AtFlags::REMOVEDIR)
}

pub(super) fn rename(
    dir: BorrowedFd<'_>,
    name: &[u8],
    to: BorrowedFd<'_>,
    to_name: &[u8],
    how: Rename,
) -> Sys<()> {
    let flags = match how {
        Rename::Replace => RenameFlags::empty(),
        Rename::NoReplace => RenameFlags::NOREPLACE,
        Rename::Exchange => RenameFlags::EXCHANGE,
        Rename::Whiteout => RenameFlags::WHITEOUT,
    };
    fs::renameat_with(dir, name, to, to_name, flags)
}

/// Changes the mode of what `node` (any descriptor) names; symbolic links have none.
pub(super) fn chmod(node: BorrowedFd<'_>, mode: u32) -> Sys<()> {
    fs::chmodat(CWD, proc_path(node, b""), Mode::from_raw_mode(mode), AtFlags::empty())
}

pub(super) fn chown(dir: BorrowedFd<'_>, name: &[u8], uid: Option<u32>, gid: Option<u32>) -> Sys<()> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
    fs::chownat(dir, name, uid.map(Uid::from_raw), gid.map(Gid::from_raw), flags)
}

/// Sets times of a child. The empty name does not work here: see [`set_times_of`].
pub(super) fn set_times(
    dir: BorrowedFd<'_>,
    name: &[u8],
    atime: Option<SetTime>,
    mtime: Option<SetTime>,
) -> Sys<()> {
    fs::utimensat(dir, name, &timestamps(atime, mtime), AtFlags::SYMLINK_NOFOLLOW)
}

/// Sets the times of what a descriptor names, symbolic links included (Linux 5.8 takes AT_EMPTY_PATH).
pub(super) fn set_times_of(node: BorrowedFd<'_>, atime: Option<SetTime>, mtime: Option<SetTime>) -> Sys<()> {
    fs::utimensat(node, "", &timestamps(atime, mtime), AtFlags::EMPTY_PATH)
}

fn timestamps(atime: Option<SetTime>, mtime: Option<SetTime>) -> Timestamps {
    Timestamps { last_access: timespec(atime), last_modification: timespec(mtime) }
}

fn timespec(time: Option<SetTime>) -> Timespec {
    match time {
        None => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        Some(SetTime::Now) => Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
        Some(SetTime::At(time)) => Timespec { tv_sec: time.sec, tv_nsec: time.nsec.into() },
    }
}

pub(super) fn truncate(fd: BorrowedFd<'_>, size: u64) -> Sys<()> {
    fs::ftruncate(fd, size)
}

pub(super) fn read_at(fd: BorrowedFd<'_>, offset: u64, len: usize) -> Sys<Vec<u8>> {
    let mut data = Vec::with_capacity(len);
    if offset > i64::MAX as u64 - len as u64 {
        // No file reaches there; pread(2) would call it an invalid argument.
        return Ok(data);
    }
    while data.len() < len {
        let at = offset + data.len() as u64;
        match rustix::io::pread(fd, rustix::buffer::spare_capacity(&mut data), at) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    data.truncate(len);
    Ok(data)
}

pub(super) fn write_at(fd: BorrowedFd<'_>, mut offset: u64, mut data: &[u8]) -> Sys<()> {
    while !data.is_empty() {
        match rustix::io::pwrite(fd, data, offset) {
            Ok(0) => return Err(Errno::IO),
            Ok(written) => {
                offset += written as u64;
                data = &data[written..];
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// The next data or hole at or after `offset`; `None` past the last one.
pub(super) fn seek(fd: BorrowedFd<'_>, offset: u64, what: Seek) -> Sys<Option<u64>> {
    let target = match what {
        Seek::Data => SeekFrom::Data(offset),
        Seek::Hole => SeekFrom::Hole(offset),
    };
    match fs::seek(fd, target) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NXIO) => Ok(None),
        Err(errno) => Err(errno),
    }
}

pub(super) fn reflink(to: BorrowedFd<'_>, from: BorrowedFd<'_>) -> Sys<()> {
    fs::ioctl_ficlone(to, from)
}

/// One `copy_file_range` of at most a gibibyte.
pub(super) fn copy_range(
    source: BorrowedFd<'_>,
    mut from: u64,
    target: BorrowedFd<'_>,
    mut to: u64,
    len: u64,
) -> Sys<u64> {
    let len = len.min(1 << 30) as usize;
    fs::copy_file_range(source, Some(&mut from), target, Some(&mut to), len).map(|copied| copied as u64)
}

pub(super) fn allocate(fd: BorrowedFd<'_>, how: Allocate, offset: u64, len: u64) -> Sys<()> {
    let keep = FallocateFlags::KEEP_SIZE;
    let flags = match how {
        Allocate::Extend => FallocateFlags::empty(),
        Allocate::KeepSize => keep,
        Allocate::PunchHole => FallocateFlags::PUNCH_HOLE | keep,
        Allocate::Zero => FallocateFlags::ZERO_RANGE,
        Allocate::ZeroKeepSize => FallocateFlags::ZERO_RANGE | keep,
    };
    fs::fallocate(fd, flags, offset, len)
}

pub(super) fn sync(fd: BorrowedFd<'_>, attributes: bool) -> Sys<()> {
    if attributes { fs::fsync(fd) } else { fs::fdatasync(fd) }
}

/// Writes the directory that `dir` names to stable storage.
pub(super) fn sync_dir(dir: BorrowedFd<'_>) -> Sys<()> {
    fs::fsync(reopen_dir(dir)?)
}

pub(super) fn sync_fs(dir: BorrowedFd<'_>) -> Sys<()> {
    fs::syncfs(reopen_dir(dir)?)
}

pub(super) fn statfs(dir: BorrowedFd<'_>) -> Sys<StatFs> {
    let vfs = fs::fstatvfs(dir)?;
    Ok(StatFs {
        bsize: vfs.f_frsize as u32,
        blocks: vfs.f_blocks,
        bfree: vfs.f_bfree,
        bavail: vfs.f_bavail,
        files: vfs.f_files,
        ffree: vfs.f_ffree,
        namelen: vfs.f_namemax as u32,
    })
}

/// Takes the lock of a directory for as long as the descriptor returned is open; `None` if another holds it.
pub(super) fn lock(dir: BorrowedFd<'_>) -> Sys<Option<OwnedFd>> {
    let fd = reopen_dir(dir)?;
    match fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(fd)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// The value of an xattr of a child (an empty name: of what the descriptor names). `None` if there is none, or
/// the file system has no xattrs.
pub(super) fn xattr(dir: BorrowedFd<'_>, name: &[u8], key: &[u8]) -> Sys<Option<Vec<u8>>> {
    let path = proc_path(dir, name);
    let follow = name.is_empty();
    let mut value = vec![0; 256];
    loop {
        match xattr_get(&path, key, follow, &mut value) {
            Ok(read) => {
                value.truncate(read);
                return Ok(Some(value));
            }
            Err(Errno::RANGE) => value.resize(value.len() * 16, 0),
            Err(Errno::NODATA | Errno::OPNOTSUPP) => return Ok(None),
            Err(errno) => return Err(errno),
        }
    }
}

fn xattr_get(path: &[u8], key: &[u8], follow: bool, value: &mut [u8]) -> Sys<usize> {
    if follow { fs::getxattr(path, key, value) } else { fs::lgetxattr(path, key, value) }
}

/// The xattr keys as they are on disk.
pub(super) fn xattr_keys(dir: BorrowedFd<'_>, name: &[u8]) -> Sys<Vec<Vec<u8>>> {
    let path = proc_path(dir, name);
    let mut buffer = vec![0_u8; 512];
    let len = loop {
        let listed = if name.is_empty() {
            fs::listxattr(path.as_slice(), buffer.as_mut_slice())
        } else {
            fs::llistxattr(path.as_slice(), buffer.as_mut_slice())
        };
        match listed {
            Ok(len) => break len,
            Err(Errno::RANGE) => buffer.resize(buffer.len() * 8, 0),
            Err(Errno::OPNOTSUPP) => break 0,
            Err(errno) => return Err(errno),
        }
    };
    Ok(buffer[..len].split(|b| *b == 0).filter(|key| !key.is_empty()).map(<[u8]>::to_vec).collect())
}

pub(super) fn set_xattr(
    dir: BorrowedFd<'_>,
    name: &[u8],
    key: &[u8],
    value: &[u8],
    how: SetXattr,
) -> Sys<()> {
    let flags = match how {
        SetXattr::Any => XattrFlags::empty(),
        SetXattr::Create => XattrFlags::CREATE,
        SetXattr::Replace => XattrFlags::REPLACE,
    };
    let path = proc_path(dir, name);
    if name.is_empty() {
        fs::setxattr(path, key, value, flags)
    } else {
        fs::lsetxattr(path, key, value, flags)
    }
}

pub(super) fn remove_xattr(dir: BorrowedFd<'_>, name: &[u8], key: &[u8]) -> Sys<()> {
    let path = proc_path(dir, name);
    if name.is_empty() { fs::removexattr(path, key) } else { fs::lremovexattr(path, key) }
}

/// Sets an xattr, or sees to it that there is none.
pub(super) fn put_xattr(dir: BorrowedFd<'_>, name: &[u8], key: &[u8], value: Option<&[u8]>) -> Sys<()> {
    match value {
        Some(value) => set_xattr(dir, name, key, value, SetXattr::Any),
        None => match remove_xattr(dir, name, key) {
            Err(Errno::NODATA) => Ok(()),
            other => other,
        },
    }
}

pub(super) fn flags(node: BorrowedFd<'_>) -> Sys<u32> {
    fs::ioctl_getflags(reopen(node, OFlags::RDONLY | OFlags::NONBLOCK)?).map(|flags| flags.bits())
}

pub(super) fn set_flags(node: BorrowedFd<'_>, flags: u32) -> Sys<()> {
    let fd = reopen(node, OFlags::RDONLY | OFlags::NONBLOCK)?;
    fs::ioctl_setflags(fd, IFlags::from_bits_retain(flags))
}

/// `/proc/self/fd/N` or `/proc/self/fd/N/name`: a path to what a descriptor names, or to a child of it.
fn proc_path(fd: BorrowedFd<'_>, name: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(24 + name.len());
    // Writing into a Vec cannot fail.
    if write!(path, "/proc/self/fd/{}", fd.as_raw_fd()).is_ok() && !name.is_empty() {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    path
}

/// The most descriptors that this process may open.
pub(super) fn descriptor_limit() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Whether the process acts as root, whom a directory without any permission lets in.
pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether the process has a umask; assumed where `/proc` does not tell. (umask(2) itself can only be read by
/// changing it, for all threads.)
pub(super) fn is_masked() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let umask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    umask.and_then(|octal| u32::from_str_radix(octal.trim(), 8).ok()) != Some(0)
}

/// The longest file handle (`MAX_HANDLE_SZ`).
const HANDLE_MAX: usize = 128;

/// `struct file_handle` with room for any handle.
#[repr(C)]
struct RawHandle {
    len: std::ffi::c_uint,
    kind: std::ffi::c_int,
    bytes: [u8; HANDLE_MAX],
}

// rustix has neither call; every C library of Linux has both.
unsafe extern "C" {
    fn name_to_handle_at(
        dir: std::ffi::c_int,
        name: *const std::ffi::c_char,
        handle: *mut RawHandle,
        mount: *mut std::ffi::c_int,
        flags: std::ffi::c_int,
    ) -> std::ffi::c_int;
    fn open_by_handle_at(
        mount: std::ffi::c_int,
        handle: *mut RawHandle,
        flags: std::ffi::c_int,
    ) -> std::ffi::c_int;
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// The type and bytes of the file handle of a child (an empty name: of what the descriptor names). `None` where the file
/// system has no handles.
pub(super) fn handle(dir: BorrowedFd<'_>, name: &[u8]) -> Sys<Option<(u8, Vec<u8>)>> {
    let name = std::ffi::CString::new(name).map_err(|_| Errno::INVAL)?;
    let mut raw = RawHandle { len: HANDLE_MAX as std::ffi::c_uint, kind: 0, bytes: [0; HANDLE_MAX] };
    let mut mount = 0;
    let flags = if name.is_empty() { AtFlags::EMPTY_PATH } else { AtFlags::empty() };
    // SAFETY: the name ends in NUL, the handle has the room that `len` says, and both outlive the call.
    let done = unsafe {
        name_to_handle_at(
            dir.as_raw_fd(),
            name.as_ptr(),
            &raw mut raw,
            &raw mut mount,
            flags.bits() as std::ffi::c_int,
        )
    };
    if done != 0 {
        return match last_errno() {
            Errno::OPNOTSUPP | Errno::OVERFLOW => Ok(None),
            errno => Err(errno),
        };
    }
    let bytes = raw.bytes.get(..raw.len as usize).ok_or(Errno::OVERFLOW)?;
    Ok(u8::try_from(raw.kind).ok().map(|kind| (kind, bytes.to_vec())))
}

/// Opens the directory that a descriptor names once more, for reading.
pub(super) fn reopen_dir(dir: BorrowedFd<'_>) -> Sys<OwnedFd> {
    reopen(dir, OFlags::RDONLY | OFlags::DIRECTORY)
}

/// Opens what a file handle means for naming it. Needs CAP_DAC_READ_SEARCH; `mount` must be open for reading.
pub(super) fn open_handle(mount: BorrowedFd<'_>, kind: u8, handle: &[u8]) -> Sys<OwnedFd> {
    let mut bytes = [0; HANDLE_MAX];
    bytes.get_mut(..handle.len()).ok_or(Errno::OVERFLOW)?.copy_from_slice(handle);
    let mut raw = RawHandle { len: handle.len() as std::ffi::c_uint, kind: kind.into(), bytes };
    let flags = (OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC).bits() as std::ffi::c_int;
    // SAFETY: the handle has at least `len` bytes and outlives the call.
    let fd = unsafe { open_by_handle_at(mount.as_raw_fd(), &raw mut raw, flags) };
    if fd < 0 {
        return Err(last_errno());
    }
    // SAFETY: the call has just opened it, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The UUID of the file system (`FS_IOC_GETFSUUID`, Linux 6.9); zeros where it has none.
pub(super) fn fs_uuid(fd: BorrowedFd<'_>) -> [u8; 16] {
    #[repr(C)]
    struct Uuid {
        len: u8,
        bytes: [u8; 16],
    }
    const OPCODE: rustix::ioctl::Opcode = rustix::ioctl::opcode::read::<Uuid>(0x15, 0);
    // SAFETY: the ioctl fills a `struct fsuuid2`, which is what `Uuid` is.
    let told = unsafe { rustix::ioctl::ioctl(fd, rustix::ioctl::Getter::<OPCODE, Uuid>::new()) };
    told.ok().filter(|uuid| uuid.len == 16).map_or([0; 16], |uuid| uuid.bytes)
}

/// The identity of the mount that a descriptor lies on, where the kernel tells (Linux 5.8).
pub(super) fn mount_id(fd: BorrowedFd<'_>) -> Sys<Option<u64>> {
    use rustix::fs::StatxFlags;
    let stat = fs::statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?;
    Ok((stat.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some(stat.stx_mnt_id))
}
