//! Open files: reading, writing and what else a handle can do.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::inode::{Ino, Inode};
use super::reach::UpperPlace;
use super::{Overlay, stale};
use crate::attr::{Kind, SetAttr};
use crate::copy_up::Data;
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::layer::{Allocate, File, Seek, UpperFile, UpperNode};

/// How a file is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// For writing, and so for copying up first.
    pub write: bool,
    /// Cut to nothing.
    pub truncate: bool,
}

/// An open regular file.
pub struct FileHandle {
    count: Count,
    open: Open,
    file: Opened,
}

/// An inode that is held open, counted among its handles.
struct Count(Arc<Inode>);

impl Count {
    fn of(inode: &Arc<Inode>) -> Self {
        inode.opens.fetch_add(1, Ordering::SeqCst);
        Self(inode.clone())
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        if self.0.opens.fetch_sub(1, Ordering::SeqCst) == 1 {
            let mut state = self.0.state_mut();
            // Unless somebody opened it in between, and a copy-up kept its file for him.
            if !self.0.is_open() {
                state.copied = None;
            }
        }
    }
}

enum Opened {
    Lower(Arc<dyn File>),
    /// The upper's file, open for reading only.
    Upper(Arc<dyn File>),
    Writable(Arc<dyn UpperFile>),
}

impl FileHandle {
    pub(super) fn upper(inode: Arc<Inode>, file: Arc<dyn UpperFile>, open: Open) -> Self {
        Self { count: Count::of(&inode), open, file: Opened::Writable(file) }
    }

    /// The inode's number.
    pub fn ino(&self) -> Ino {
        self.count.0.ino
    }

    /// Whether it lies in the upper layer, where it stays.
    pub fn is_upper(&self) -> bool {
        !matches!(self.file, Opened::Lower(_))
    }

    /// Passes the local file behind the handle to `with`, if there is one.
    pub fn with_backing<T>(&self, with: impl FnOnce(BorrowedFd<'_>) -> T) -> Option<T> {
        match &self.file {
            Opened::Lower(file) | Opened::Upper(file) => file.backing().map(with),
            Opened::Writable(file) => file.backing().map(with),
        }
    }

    /// The file to write to, if the handle may write.
    pub(super) fn upper_file(&self) -> Option<Arc<dyn UpperFile>> {
        match &self.file {
            Opened::Writable(file) => Some(file.clone()),
            _ => None,
        }
    }

    /// The file to read from: a handle that was opened on the lower reads the copy as soon as there is one.
    fn readable(&self) -> Arc<dyn File> {
        match &self.file {
            Opened::Upper(file) => file.clone(),
            Opened::Writable(file) => file.clone(),
            Opened::Lower(file) => match self.count.0.state().copied.clone() {
                Some(copy) => copy,
                None => file.clone(),
            },
        }
    }
}

impl Overlay {
    /// Opens a regular file, copying it up first if it is to be written. Returns the handle's number.
    pub async fn open(&self, ino: Ino, open: Open) -> Result<u64> {
        let inode = self.inode(ino)?;
        match inode.kind {
            Kind::File => {}
            Kind::Dir => return Err(Error::new(ErrorKind::IsDir, "open")),
            _ => return Err(Error::new(ErrorKind::Invalid, "open")),
        }
        // Counted first: a copy-up keeps the file that it made for those who hold the inode open, so that after it
        // is published nothing needs to be opened any more.
        let count = Count::of(&inode);
        let data = if open.truncate { Data::None } else { Data::Full };
        let copied = (open.write || open.truncate) && self.copy_up(&inode, data).await?;
        let _place = inode.lock.read().await;
        let handle = self.open_at(&inode, count, open).await?;
        if open.truncate && !copied {
            let file = handle.upper_file().ok_or_else(|| stale("open"))?;
            file.set_attr(&SetAttr { size: Some(0), ..SetAttr::default() }).await?;
        }
        Ok(self.keep(handle))
    }

    async fn open_at(&self, inode: &Arc<Inode>, count: Count, open: Open) -> Result<FileHandle> {
        let copied = inode.state().copied.clone();
        let place = self.upper_place(inode)?.filter(|_| !inode.state().metacopy);
        let opened = match (place, copied) {
            (Some(_), Some(copied)) if open.write || open.truncate => Opened::Writable(copied),
            (place, _) => self.open_place(inode, place, open).await?,
        };
        Ok(FileHandle { count, open, file: opened })
    }

    async fn open_place(&self, inode: &Inode, place: Option<UpperPlace>, open: Open) -> Result<Opened> {
        Ok(match place {
            Some(UpperPlace::Child(dir, name)) if open.write || open.truncate => {
                Opened::Writable(dir.upper_file(&name).await?)
            }
            Some(UpperPlace::Child(dir, name)) => Opened::Upper(dir.file(&name).await?),
            Some(UpperPlace::Dir(_)) => return Err(Error::new(ErrorKind::IsDir, "open")),
            Some(UpperPlace::Node(node)) => nameless(inode, node.as_ref(), open).await?,
            None => Opened::Lower(self.lower_file(inode).await?),
        })
    }

    pub(super) fn keep(&self, handle: FileHandle) -> u64 {
        let number = self.next_handle.fetch_add(1, Ordering::Relaxed);
        self.files.insert(number, Arc::new(handle));
        number
    }

    /// An open handle.
    pub fn file(&self, handle: u64) -> Result<Arc<FileHandle>> {
        let known = self.files.get(&handle).map(|entry| entry.value().clone());
        known.ok_or_else(|| Error::new(ErrorKind::BadHandle, "handle"))
    }

    /// Whether a file is open for writing.
    pub(super) fn is_written(&self, ino: Ino) -> bool {
        self.files.iter().any(|handle| handle.ino() == ino && handle.open.write)
    }

    /// Closes a handle.
    pub fn release(&self, handle: u64) {
        self.files.remove(&handle);
    }

    /// Up to `len` bytes from `offset`; fewer only at the end of the file.
    pub async fn read(&self, handle: u64, offset: u64, len: usize) -> Result<Bytes> {
        self.file(handle)?.readable().read_at(offset, len).await
    }

    /// Writes all of `data` at `offset`. `kill_privilege`: the writer has none, so set-user-ID and set-group-ID go.
    pub async fn write(&self, handle: u64, offset: u64, data: &[u8], kill_privilege: bool) -> Result<()> {
        let file = self.file(handle)?;
        if kill_privilege {
            self.kill_privilege(file.ino()).await?;
        }
        writable(&file, "write")?.write_at(offset, data).await
    }

    /// Writes an open file to stable storage; `attributes` with what `fdatasync` would leave out. A handle that may
    /// not write syncs what others wrote.
    pub async fn fsync(&self, handle: u64, attributes: bool) -> Result<()> {
        let handle = self.file(handle)?;
        if self.options.volatile || !handle.count.0.has_upper() {
            return Ok(());
        }
        if let Some(file) = handle.upper_file() {
            return file.sync(attributes).await;
        }
        let copied = handle.count.0.state().copied.clone();
        if let Some(file) = copied {
            return file.sync(attributes).await;
        }
        let _place = handle.count.0.lock.read().await;
        match self.upper_place(&handle.count.0)? {
            Some(UpperPlace::Child(dir, name)) => dir.upper_file(&name).await?.sync(attributes).await,
            // Nobody will look for a file without a name after a crash.
            _ => Ok(()),
        }
    }

    /// As `fallocate(2)`.
    pub async fn fallocate(&self, handle: u64, how: Allocate, offset: u64, len: u64) -> Result<()> {
        writable(&*self.file(handle)?, "fallocate")?.allocate(how, offset, len).await
    }

    /// As `lseek(2)` with `SEEK_DATA` or `SEEK_HOLE`; `NoSuchDevice` past the end.
    pub async fn lseek(&self, handle: u64, offset: u64, what: Seek) -> Result<u64> {
        let found = self.file(handle)?.readable().seek(offset, what).await?;
        found.ok_or_else(|| Error::new(ErrorKind::NoSuchDevice, "lseek"))
    }

    /// As `copy_file_range(2)`: the count of bytes copied, 0 at the end of the source.
    pub async fn copy_file_range(
        &self,
        from: u64,
        from_offset: u64,
        to: u64,
        to_offset: u64,
        len: u64,
    ) -> Result<u64> {
        let (source, target) = (self.file(from)?, self.file(to)?);
        let target = writable(&target, "copy_file_range")?;
        target.copy_range(source.readable().as_ref(), from_offset, to_offset, len).await
    }
}

fn writable(file: &FileHandle, op: &'static str) -> Result<Arc<dyn UpperFile>> {
    let refuse = || Error::new(ErrorKind::BadHandle, op);
    if file.open.write { file.upper_file().ok_or_else(refuse) } else { Err(refuse()) }
}

/// What has no name is opened by `/proc/self/fd`. A copy that is kept for other handles serves in any layer.
async fn nameless(inode: &Inode, node: &dyn UpperNode, open: Open) -> Result<Opened> {
    let copied = inode.state().copied.clone();
    match copied {
        Some(copy) => Ok(Opened::Writable(copy)),
        None if open.write || open.truncate => Ok(Opened::Writable(node.open(true).await?)),
        None => Ok(Opened::Upper(node.open(false).await?)),
    }
}
