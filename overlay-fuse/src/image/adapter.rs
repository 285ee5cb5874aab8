//! The requests of an image: decoded, given to the reader, answered.
//!
//! An image does not change, so the kernel is told to keep all that it learns. Files and directories are opened
//! without a request (`FUSE_NO_OPEN_SUPPORT`), but where local files may be behind them: those are passed through,
//! which is told when they are opened.

use std::ffi::OsStr;
use std::future::Future;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use dashmap::DashMap;
use fuser::{
    Errno, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, InitFlags, IoctlFlags, KernelConfig,
    LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry,
    ReplyIoctl, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyXattr, Request,
};
use overlay_core::attr::{Attr, Kind, Time};
use overlay_core::error::{Error, Kind as ErrorKind, Result};
use overlay_core::layer::File;
use overlay_core::name::Name;
use tokio::runtime::Handle;

use super::files::IDLE;
use super::reader::{Reader, Row};
use crate::answer::{Answer, Sized, errno};
use crate::convert::{TTL, file_attr, file_type, key_list, seek};
use crate::ioctl::{asks_flags, shown};
use crate::passthrough::{Backing, Passthrough, Way};
use crate::task::run;

/// The image that fuser drives.
pub(super) struct ImageAdapter {
    reader: Arc<Reader>,
    runtime: Handle,
    passthrough: Arc<Passthrough>,
    open: Arc<Open>,
}

/// The files that were opened by a request.
#[derive(Default)]
struct Open {
    files: DashMap<u64, Arc<dyn File>>,
    next: AtomicU64,
}

/// What is asked of the kernel; what it lacks is left out.
const CAPABILITIES: [InitFlags; 8] = [
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_READDIRPLUS_AUTO,
    InitFlags::FUSE_CACHE_SYMLINKS,
    InitFlags::FUSE_ASYNC_DIO,
    InitFlags::FUSE_HAS_IOCTL_DIR,
    InitFlags::FUSE_ABORT_ERROR,
    // A handle of one mount must not be taken for an object of the next.
    InitFlags::FUSE_NO_EXPORT_SUPPORT,
];

/// Requests that may wait for the network at a time before the kernel holds further ones back.
const MAX_BACKGROUND: u16 = 64;

/// The number of a handle that was opened without a request.
const NO_HANDLE: u64 = 0;

impl ImageAdapter {
    /// To be called on the runtime.
    pub(super) fn new(reader: Arc<Reader>, runtime: Handle) -> Self {
        runtime.spawn(close_idle(Arc::downgrade(&reader)));
        let open = Open { files: DashMap::new(), next: AtomicU64::new(NO_HANDLE + 1) };
        Self { reader, runtime, passthrough: Arc::default(), open: Arc::new(open) }
    }

    fn answer<T, R, F>(&self, reply: R, operation: impl FnOnce(Arc<Reader>) -> F)
    where
        T: Send + 'static,
        R: Answer<T>,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let operation = operation(self.reader.clone());
        run(&self.runtime, async move { reply.answer(operation.await) });
    }
}

async fn close_idle(reader: Weak<Reader>) {
    loop {
        tokio::time::sleep(IDLE).await;
        match reader.upgrade() {
            Some(reader) => reader.close_idle(),
            None => return,
        }
    }
}

impl Filesystem for ImageAdapter {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        for capability in CAPABILITIES {
            if config.add_capabilities(capability).is_err() {
                tracing::debug!(?capability, "the kernel does not offer it");
            }
        }
        // Without it the kernel would take the mask of an ACL for the rights of the group.
        if self.reader.has_acls() && config.add_capabilities(InitFlags::FUSE_POSIX_ACL).is_err() {
            return Err(io::Error::other("this kernel does not enforce the ACLs of a layer that is served"));
        }
        // One level, so that a union of the kernel's still fits on top.
        let passes = self.reader.has_backing()
            && config.add_capabilities(InitFlags::FUSE_PASSTHROUGH).is_ok()
            && config.set_max_stack_depth(1).is_ok();
        if passes {
            self.passthrough.allow();
        }
        if let Err(most) = config.set_max_background(MAX_BACKGROUND) {
            tracing::debug!(most, "fewer requests in the background");
        }
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match Name::try_from(name) {
            Err(error) => Answer::<Attr>::answer(reply, Err(error)),
            Ok(name) => self.answer(reply, |r| async move { r.lookup(parent.0, &name).await }),
        }
    }

    fn forget(&self, _request: &Request, ino: INodeNo, nlookup: u64) {
        self.reader.forget(ino.0, nlookup);
    }

    fn getattr(&self, _request: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        reply.answer(self.reader.attr(ino.0));
    }

    fn readlink(&self, _request: &Request, ino: INodeNo, reply: ReplyData) {
        self.answer(reply, |r| async move { r.read_link(ino.0).await });
    }

    fn open(&self, _request: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        if !self.reader.has_backing() {
            // From now on the kernel opens files without asking.
            return reply.error(Errno::ENOSYS);
        }
        let (reader, open) = (self.reader.clone(), self.open.clone());
        let passthrough = self.passthrough.clone();
        run(&self.runtime, async move {
            let file = match reader.open(ino.0).await {
                Ok(file) => file,
                Err(error) => return reply.error(errno(&error)),
            };
            let way = passthrough.opened(ino.0, || file.backing().map(|fd| reply.register(fd)));
            let number = open.next.fetch_add(1, Ordering::Relaxed);
            open.files.insert(number, file);
            match way {
                Way::Passed(id) => reply.opened_passthrough(FileHandle(number), FopenFlags::empty(), &id),
                Way::Cached => reply.opened(FileHandle(number), CACHED),
            }
        });
    }

    fn read(
        &self,
        _request: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let size = size as usize;
        match self.open.get(fh) {
            Some(file) => self.answer(reply, |_| async move { file.read_at(offset, size).await }),
            None => self.answer(reply, |r| async move { r.read(ino.0, offset, size).await }),
        }
    }

    fn lseek(
        &self,
        _request: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        let asked = seek(offset, whence);
        let file = self.open.get(fh);
        self.answer(reply, |r| async move {
            let (offset, what) = asked?;
            let found = match file {
                Some(file) => file.seek(offset, what).await?,
                None => r.seek(ino.0, offset, what).await?,
            };
            found.ok_or_else(|| Error::new(ErrorKind::NoSuchDevice, "lseek"))
        });
    }

    fn flush(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        // There is nothing to write; the kernel does not ask again.
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
        if self.open.files.remove(&fh.0).is_some() {
            self.passthrough.closed(ino.0);
        }
        reply.ok();
    }

    fn opendir(&self, _request: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        // From now on the kernel opens directories without asking, and keeps their listings.
        reply.error(Errno::ENOSYS);
    }

    fn readdir(
        &self,
        _request: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let reader = self.reader.clone();
        run(&self.runtime, async move {
            let rows = match reader.rows(ino.0, offset as usize).await {
                Ok(rows) => rows,
                Err(error) => return reply.error(errno(&error)),
            };
            for (next, row) in (offset + 1..).zip(rows) {
                if reply.add(INodeNo(row.ino), next, file_type(row.kind), row_name(&row, next)) {
                    break;
                }
            }
            reply.ok();
        });
    }

    fn readdirplus(
        &self,
        _request: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let reader = self.reader.clone();
        run(&self.runtime, async move {
            match fill(&reader, ino.0, offset, &mut reply).await {
                Ok(()) => reply.ok(),
                Err(error) => reply.error(errno(&error)),
            }
        });
    }

    fn statfs(&self, _request: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        self.answer(reply, |r| async move { r.statfs().await });
    }

    fn getxattr(&self, _request: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        if !self.reader.has_xattrs() {
            // From now on the kernel knows without asking.
            return reply.error(Errno::ENOSYS);
        }
        let key = name.as_bytes().to_vec();
        self.answer(Sized(reply, size), |r| async move { r.xattr(ino.0, &key).await });
    }

    fn listxattr(&self, _request: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        if !self.reader.has_xattrs() {
            return reply.error(Errno::ENOSYS);
        }
        self.answer(Sized(reply, size), |r| async move { Ok(key_list(r.xattr_keys(ino.0).await?, true)) });
    }

    fn ioctl(
        &self,
        _request: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        _flags: IoctlFlags,
        command: u32,
        _in_data: &[u8],
        _out_size: u32,
        reply: ReplyIoctl,
    ) {
        if !asks_flags(command) {
            // What a copy-up of the kernel takes for "there is no such thing"; anything else ends it.
            return reply.error(Errno::ENOTTY);
        }
        let reader = self.reader.clone();
        run(&self.runtime, async move {
            match reader.flags(ino.0).await {
                Ok(flags) => reply.ioctl(0, &shown(command, flags)),
                Err(error) => reply.error(errno(&error)),
            }
        });
    }
}

impl Open {
    fn get(&self, handle: FileHandle) -> Option<Arc<dyn File>> {
        self.files.get(&handle.0).map(|file| file.value().clone())
    }
}

/// A handle whose pages stay good.
const CACHED: FopenFlags = FopenFlags::FOPEN_KEEP_CACHE.union(FopenFlags::FOPEN_NOFLUSH);

fn row_name(row: &Row, next: u64) -> &OsStr {
    match &row.name {
        Some(name) => name.as_os_str(),
        None if next == 1 => OsStr::new("."),
        None => OsStr::new(".."),
    }
}

/// Rows with attributes; each but `.` and `..` counts as a look-up. They end before a name whose attributes cannot be
/// had: the kernel asks for the rest without attributes, so that one bad object does not hide the others.
async fn fill(reader: &Reader, ino: u64, offset: u64, reply: &mut ReplyDirectoryPlus) -> Result<()> {
    let rows = reader.rows(ino, offset as usize).await?;
    let mut some = false;
    for (next, row) in (offset + 1..).zip(rows) {
        let attr = match &row.name {
            None => Ok(Some(Attr::new(Kind::Dir, row.ino, 0o755, 0, Time::default()))),
            Some(name) => reader.lookup(ino, name).await,
        };
        let attr = match attr {
            Ok(Some(attr)) => attr,
            Ok(None) => continue,
            Err(_) if some => break,
            Err(error) => return Err(error),
        };
        let name = row_name(&row, next);
        if reply.add(INodeNo(attr.ino), next, name, &TTL, &file_attr(&attr), Generation(0)) {
            if row.name.is_some() {
                reader.forget(attr.ino, 1);
            }
            break;
        }
        some = true;
    }
    Ok(())
}
