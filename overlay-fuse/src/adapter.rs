//! Each request is decoded, given to the union, and answered. Nothing else happens here.

use std::ffi::OsStr;
use std::future::Future;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, FopenFlags, Generation,
    INodeNo, InitFlags, IoctlFlags, KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen,
    ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use overlay_core::attr::{Kind, SetAttr};
use overlay_core::error::{Error, Kind as ErrorKind, Result};
use overlay_core::layer::{Allocate, SetXattr};
use overlay_core::merge::inherit::Caller;
use overlay_core::merge::plan::RenameMode;
use overlay_core::name::Name;
use overlay_core::overlay::{Change, Open, Overlay};
use tokio::runtime::Handle;

use crate::answer::{Answer, Sized, errno};
use crate::convert::{TTL, file_attr, file_type, key_list, kind_of_mode, open, seek, set_time};
use crate::ioctl::{REFRESH, ioctl, refresh};
use crate::passthrough::{Backing, Passthrough, Way};
use crate::task::{run, try_now};

/// The file system that fuser drives.
pub(crate) struct Adapter {
    overlay: Arc<Overlay>,
    runtime: Handle,
    passthrough: Arc<Passthrough>,
}

impl Adapter {
    pub(crate) fn new(overlay: Arc<Overlay>, runtime: Handle) -> Self {
        Self { overlay, runtime, passthrough: Arc::default() }
    }

    /// Runs an operation of the union and answers with its result.
    fn answer<T, R, F>(&self, reply: R, operation: impl FnOnce(Arc<Overlay>) -> F)
    where
        T: Send + 'static,
        R: Answer<T>,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let operation = operation(self.overlay.clone());
        run(&self.runtime, async move { reply.answer(operation.await) });
    }

    /// The same for an operation on a name.
    fn answer_named<T, R, F>(&self, reply: R, name: &OsStr, operation: impl FnOnce(Arc<Overlay>, Name) -> F)
    where
        T: Send + 'static,
        R: Answer<T>,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        match Name::try_from(name) {
            Err(error) => reply.answer(Err(error)),
            Ok(name) => self.answer(reply, |overlay| operation(overlay, name)),
        }
    }
}

/// What is asked of the kernel beyond fuser's own choice; what a kernel lacks is left out.
const CAPABILITIES: [InitFlags; 10] = [
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_READDIRPLUS_AUTO,
    InitFlags::FUSE_ATOMIC_O_TRUNC,
    // The union takes set-user-ID off where a write demands it; the kernel then need not ask before each write.
    InitFlags::FUSE_HANDLE_KILLPRIV_V2,
    InitFlags::FUSE_CACHE_SYMLINKS,
    InitFlags::FUSE_ASYNC_DIO,
    InitFlags::FUSE_HAS_IOCTL_DIR,
    InitFlags::FUSE_ABORT_ERROR,
    // A number is given again after its file is gone, so a handle of that file would open the next one. The kernel's
    // overlayfs gives out none either, unless it is told to (nfs_export).
    InitFlags::FUSE_NO_EXPORT_SUPPORT,
];

/// Requests that may wait for the network at a time before the kernel holds further ones back.
const MAX_BACKGROUND: u16 = 64;

fn caller(request: &Request, umask: u32) -> Caller {
    Caller { uid: request.uid(), gid: request.gid(), umask }
}

fn rename_mode(flags: RenameFlags) -> Result<RenameMode> {
    match flags {
        flags if flags.is_empty() => Ok(RenameMode::Replace),
        RenameFlags::RENAME_NOREPLACE => Ok(RenameMode::NoReplace),
        RenameFlags::RENAME_EXCHANGE => Ok(RenameMode::Exchange),
        // RENAME_WHITEOUT is how a union is made, not how one is used.
        _ => Err(Error::new(ErrorKind::Invalid, "rename")),
    }
}

/// `fallocate(2)` modes: KEEP_SIZE 1, PUNCH_HOLE 2, ZERO_RANGE 16.
fn allocate(mode: i32) -> Result<Allocate> {
    match mode {
        0 => Ok(Allocate::Extend),
        1 => Ok(Allocate::KeepSize),
        3 => Ok(Allocate::PunchHole),
        16 => Ok(Allocate::Zero),
        17 => Ok(Allocate::ZeroKeepSize),
        _ => Err(Error::new(ErrorKind::Unsupported, "fallocate")),
    }
}

/// `setxattr(2)` flags: XATTR_CREATE 1, XATTR_REPLACE 2.
fn set_xattr(flags: i32) -> Result<SetXattr> {
    match flags {
        0 => Ok(SetXattr::Any),
        1 => Ok(SetXattr::Create),
        2 => Ok(SetXattr::Replace),
        _ => Err(Error::new(ErrorKind::Invalid, "setxattr")),
    }
}

/// Whether a change of size by this caller takes privilege off: the kernel leaves it to us and does not say.
fn kills_privilege(uid: u32) -> bool {
    uid != 0
}

impl Filesystem for Adapter {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        for capability in CAPABILITIES {
            if config.add_capabilities(capability).is_err() {
                tracing::debug!(?capability, "the kernel does not offer it");
            }
        }
        if self.overlay.has_xattrs() {
            // Default ACLs replace the umask, so the kernel must leave it to us.
            let acls = InitFlags::FUSE_POSIX_ACL | InitFlags::FUSE_DONT_MASK;
            if config.add_capabilities(acls).is_err() {
                tracing::warn!("the kernel does not enforce ACLs on this mount");
            }
        }
        let depth = config.add_capabilities(InitFlags::FUSE_PASSTHROUGH).is_ok()
            && config.set_max_stack_depth(1).is_ok();
        if depth {
            self.passthrough.allow();
        }
        if let Err(most) = config.set_max_background(MAX_BACKGROUND) {
            tracing::debug!(most, "fewer requests in the background");
        }
        Ok(())
    }

    fn destroy(&mut self) {
        let overlay = self.overlay.clone();
        if let Err(error) = self.runtime.block_on(async move { overlay.sync().await }) {
            tracing::error!(%error, "what was written last may not be on stable storage");
        }
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.answer_named(reply, name, |o, name| async move { o.lookup(parent.0, &name).await });
    }

    fn forget(&self, _request: &Request, ino: INodeNo, nlookup: u64) {
        self.overlay.forget(ino.0, nlookup);
    }

    fn getattr(&self, _request: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        self.answer(reply, |o| async move { o.getattr(ino.0).await });
    }

    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        ctime: Option<SystemTime>,
        fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let (atime, mtime) = (atime.map(set_time), mtime.map(set_time));
        let set = SetAttr { mode: mode.map(|mode| mode & 0o7777), uid, gid, size, atime, mtime };
        // A change of nothing at all is the kernel's way to say that privilege goes. (A ctime alone comes with the
        // writeback cache only; every layer keeps its own.)
        if set.is_empty() && ctime.is_none() {
            let caller = caller(request, 0);
            return self.answer(reply, |o| async move { o.give_up_privilege(caller, ino.0).await });
        }
        let kill_privilege = size.is_some() && kills_privilege(request.uid());
        let change = Change { set, kill_privilege };
        let handle = fh.map(|fh| fh.0);
        self.answer(reply, |o| async move { o.setattr(ino.0, handle, &change).await });
    }

    fn readlink(&self, _request: &Request, ino: INodeNo, reply: ReplyData) {
        self.answer(reply, |o| async move { o.readlink(ino.0).await });
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let caller = caller(request, umask);
        let kind = kind_of_mode(mode).ok_or_else(|| Error::new(ErrorKind::Invalid, "mknod"));
        self.answer_named(reply, name, |o, name| async move {
            let rdev = rdev.into();
            o.mknod(caller, parent.0, &name, kind?, mode & 0o7777, rdev).await
        });
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let caller = caller(request, umask);
        self.answer_named(reply, name, |o, name| async move { o.mkdir(caller, parent.0, &name, mode).await });
    }

    fn unlink(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.answer_named(reply, name, |o, name| async move { o.unlink(parent.0, &name).await });
    }

    fn rmdir(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.answer_named(reply, name, |o, name| async move { o.rmdir(parent.0, &name).await });
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let caller = caller(request, 0);
        let target = target.as_os_str().as_bytes().to_vec();
        self.answer_named(
            reply,
            name,
            |o, name| async move { o.symlink(caller, parent.0, &name, &target).await },
        );
    }

    fn rename(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let newname = Name::try_from(newname);
        self.answer_named(reply, name, |o, name| async move {
            o.rename(parent.0, &name, newparent.0, &newname?, rename_mode(flags)?).await
        });
    }

    fn link(&self, _request: &Request, ino: INodeNo, newparent: INodeNo, newname: &OsStr, reply: ReplyEntry) {
        self.answer_named(reply, newname, |o, name| async move { o.link(ino.0, newparent.0, &name).await });
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let open = open(flags);
        let kill = open.truncate && kills_privilege(request.uid());
        let (overlay, passthrough) = (self.overlay.clone(), self.passthrough.clone());
        run(&self.runtime, async move {
            let opened = async {
                let fh = overlay.open(ino.0, open).await?;
                if kill && let Err(error) = overlay.kill_privilege(ino.0).await {
                    overlay.release(fh);
                    return Err(error);
                }
                Ok(fh)
            };
            match opened.await {
                Err(error) => reply.error(errno(&error)),
                Ok(fh) => match way(&overlay, &passthrough, &reply, fh) {
                    Ok((Way::Passed(id), _)) => {
                        reply.opened_passthrough(FileHandle(fh), FopenFlags::empty(), &id)
                    }
                    Ok((Way::Cached, flags)) => reply.opened(FileHandle(fh), flags),
                    Err(error) => reply.error(errno(&error)),
                },
            }
        });
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let (caller, open) = (caller(request, umask), open(OpenFlags(flags)));
        let name = match Name::try_from(name) {
            Ok(name) => name,
            Err(error) => return reply.error(errno(&error)),
        };
        let (overlay, passthrough) = (self.overlay.clone(), self.passthrough.clone());
        run(&self.runtime, async move {
            let open = Open { truncate: false, ..open };
            match overlay.create(caller, parent.0, &name, mode & 0o7777, open).await {
                Err(error) => reply.error(errno(&error)),
                Ok((attr, fh)) => match way(&overlay, &passthrough, &reply, fh) {
                    Ok((Way::Passed(id), _)) => {
                        let (attr, fh) = (file_attr(&attr), FileHandle(fh));
                        reply.created_passthrough(&TTL, &attr, Generation(0), fh, FopenFlags::empty(), &id);
                    }
                    Ok((Way::Cached, flags)) => {
                        reply.created(&TTL, &file_attr(&attr), Generation(0), FileHandle(fh), flags)
                    }
                    Err(error) => reply.error(errno(&error)),
                },
            }
        });
    }

    fn read(
        &self,
        _request: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.answer(reply, |o| async move { o.read(fh.0, offset, size as usize).await });
    }

    fn write(
        &self,
        _request: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let kill = write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID);
        let size = data.len() as u32;
        // The data is only lent: it is copied only if the write has to wait, and is then written whole once more.
        if let Some(result) = try_now(&self.runtime, self.overlay.write(fh.0, offset, data, kill)) {
            return reply.answer(result.map(|()| size));
        }
        let data = data.to_vec();
        self.answer(reply, |o| async move { o.write(fh.0, offset, &data, kill).await.map(|()| size) });
    }

    fn flush(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        // Nothing is held back, so there is nothing to flush; the kernel does not ask again.
        reply.error(Errno::ENOSYS);
    }

    fn release(
        &self,
        _request: &Request,
        ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.overlay.release(fh.0);
        self.passthrough.closed(ino.0);
        reply.ok();
    }

    fn fsync(&self, _request: &Request, _ino: INodeNo, fh: FileHandle, datasync: bool, reply: ReplyEmpty) {
        self.answer(reply, |o| async move { o.fsync(fh.0, !datasync).await });
    }

    fn opendir(&self, _request: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        // The kernel drops its copy of the listing when something changes in the directory.
        let flags = FopenFlags::FOPEN_CACHE_DIR | FopenFlags::FOPEN_KEEP_CACHE;
        self.answer(reply, |o| async move { o.opendir(ino.0).await.map(|fh| (fh, flags)) });
    }

    fn readdir(
        &self,
        _request: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let overlay = self.overlay.clone();
        run(&self.runtime, async move {
            let rows = match overlay.readdir(fh.0, offset == 0).await {
                Ok(rows) => rows,
                Err(error) => return reply.error(errno(&error)),
            };
            for (index, row) in rows.iter().enumerate().skip(offset as usize) {
                let name = dir_name(row.name.as_ref(), index);
                if reply.add(INodeNo(row.ino), index as u64 + 1, file_type(row.kind), name) {
                    break;
                }
            }
            reply.ok();
        });
    }

    fn readdirplus(
        &self,
        _request: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let overlay = self.overlay.clone();
        run(&self.runtime, async move {
            match fill_plus(&overlay, fh.0, offset as usize, &mut reply).await {
                Ok(()) => reply.ok(),
                Err(error) => reply.error(errno(&error)),
            }
        });
    }

    fn releasedir(
        &self,
        _request: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.overlay.releasedir(fh.0);
        reply.ok();
    }

    fn fsyncdir(
        &self,
        _request: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        self.answer(reply, |o| async move { o.fsyncdir(fh.0).await });
    }

    fn statfs(&self, _request: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        self.answer(reply, |o| async move { o.statfs().await });
    }

    fn setxattr(
        &self,
        _request: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        let (key, value) = (name.as_bytes().to_vec(), value.to_vec());
        self.answer(reply, |o| async move { o.setxattr(ino.0, &key, &value, set_xattr(flags)?).await });
    }

    fn getxattr(&self, _request: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let key = name.as_bytes().to_vec();
        self.answer(Sized(reply, size), |o| async move { o.getxattr(ino.0, &key).await });
    }

    fn listxattr(&self, request: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let privileged = request.uid() == 0;
        self.answer(
            Sized(reply, size),
            |o| async move { Ok(key_list(o.listxattr(ino.0).await?, privileged)) },
        );
    }

    fn removexattr(&self, _request: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let key = name.as_bytes().to_vec();
        self.answer(reply, |o| async move { o.removexattr(ino.0, &key).await });
    }

    fn access(&self, request: &Request, ino: INodeNo, mask: AccessFlags, reply: ReplyEmpty) {
        let (caller, mask) = (caller(request, 0), mask.bits() as u32);
        self.answer(reply, |o| async move { o.access(caller, ino.0, mask).await });
    }

    fn ioctl(
        &self,
        request: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        _flags: IoctlFlags,
        command: u32,
        in_data: &[u8],
        _out_size: u32,
        reply: ReplyIoctl,
    ) {
        let (overlay, input, uid) = (self.overlay.clone(), in_data.to_vec(), request.uid());
        run(&self.runtime, async move {
            let answer = match command {
                REFRESH => refresh(&overlay, uid).await,
                _ => ioctl(&overlay, ino.0, command, &input).await,
            };
            match answer {
                Ok(output) => reply.ioctl(0, &output),
                Err(error) => reply.error(errno(&error)),
            }
        });
    }

    fn fallocate(
        &self,
        request: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let kill = kills_privilege(request.uid());
        self.answer(reply, |o| async move {
            let how = allocate(mode)?;
            if kill {
                o.kill_privilege(ino.0).await?;
            }
            o.fallocate(fh.0, how, offset, length).await
        });
    }

    fn lseek(
        &self,
        _request: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        let asked = seek(offset, whence);
        self.answer(reply, |o| async move {
            let (offset, what) = asked?;
            o.lseek(fh.0, offset, what).await
        });
    }

    fn copy_file_range(
        &self,
        request: &Request,
        _ino_in: INodeNo,
        fh_in: FileHandle,
        offset_in: u64,
        ino_out: INodeNo,
        fh_out: FileHandle,
        offset_out: u64,
        len: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        let kill = kills_privilege(request.uid());
        // The answer has 32 bits; callers copy the rest with further calls.
        let len = len.min(1 << 30);
        self.answer(reply, |o| async move {
            if kill {
                o.kill_privilege(ino_out.0).await?;
            }
            let copied = o.copy_file_range(fh_in.0, offset_in, fh_out.0, offset_out, len).await?;
            Ok(copied as u32)
        });
    }
}

/// How the kernel shall reach the data of a new handle. A handle that cannot be answered is closed.
fn way(
    overlay: &Overlay,
    passthrough: &Passthrough,
    reply: &impl Backing,
    fh: u64,
) -> Result<(Way, FopenFlags)> {
    let handle = overlay.file(fh)?;
    let may_pass = handle.is_upper() || !overlay.is_writable();
    let way = passthrough
        .opened(handle.ino(), || if may_pass { handle.with_backing(|fd| reply.register(fd)) } else { None });
    let mut flags = FopenFlags::FOPEN_NOFLUSH;
    // Pages stay good unless the file may have been written past the cache.
    if !(may_pass && passthrough.is_allowed()) {
        flags |= FopenFlags::FOPEN_KEEP_CACHE;
    }
    Ok((way, flags))
}

fn dir_name(name: Option<&Name>, index: usize) -> &OsStr {
    match (name, index) {
        (Some(name), _) => name.as_os_str(),
        (None, 0) => OsStr::new("."),
        (None, _) => OsStr::new(".."),
    }
}

/// Rows with attributes; each but `.` and `..` counts as a look-up. They end before a name whose attributes cannot be
/// had: the kernel asks for the rest without attributes, so that one bad object does not hide the others.
async fn fill_plus(overlay: &Overlay, fh: u64, offset: usize, reply: &mut ReplyDirectoryPlus) -> Result<()> {
    let rows = overlay.readdir(fh, offset == 0).await?;
    let mut some = false;
    for (index, row) in rows.iter().enumerate().skip(offset) {
        let next = index as u64 + 1;
        let Some(name) = &row.name else {
            let dots = overlay_core::Attr::new(Kind::Dir, row.ino, 0o755, 0, overlay_core::Time::default());
            if reply.add(
                INodeNo(row.ino),
                next,
                dir_name(None, index),
                &TTL,
                &file_attr(&dots),
                Generation(0),
            ) {
                break;
            }
            some = true;
            continue;
        };
        // A name that has gone since the listing is not shown.
        let attr = match overlay.lookup_row(fh, name).await {
            Ok(Some(attr)) => attr,
            Ok(None) => continue,
            Err(_) if some => break,
            Err(error) => return Err(error),
        };
        if reply.add(INodeNo(attr.ino), next, name.as_os_str(), &TTL, &file_attr(&attr), Generation(0)) {
            overlay.forget(attr.ino, 1);
            break;
        }
        some = true;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_that_a_union_cannot_honour_are_refused() {
        assert_eq!(rename_mode(RenameFlags::RENAME_WHITEOUT).unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(allocate(0x08).unwrap_err().kind(), ErrorKind::Unsupported, "collapse");
        assert_eq!(set_xattr(4).unwrap_err().kind(), ErrorKind::Invalid);
    }
}
