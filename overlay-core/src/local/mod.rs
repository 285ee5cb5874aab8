//! Local directories as layers: a lower ([`LocalLayer`]) and an upper with its work directory ([`LocalUpper`]).

mod budget;
mod dir;
mod file;
mod sys;
mod tree;
mod upper;
mod whiteout;

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

pub use budget::FdBudget;
pub use upper::LocalUpper;

use crate::attr::{Attr, StatFs};
use crate::entry::FileId;
use crate::error::{Error, Kind, Result};
use crate::layer::{Dir, Layer};
use crate::marker::kernel::Namespace;
use dir::LocalDir;
use tree::Tree;

/// How local layers are opened.
#[derive(Clone)]
pub struct LocalOptions {
    /// Where the marks are.
    pub namespace: Namespace,
    /// Whether fuse-overlayfs's own opaque mark counts too (`markers=oci`).
    pub fuse_overlayfs: bool,
    /// The directory descriptors that may stay open.
    pub budget: FdBudget,
}

impl LocalOptions {
    /// Kernel marks in `namespace`, descriptors as the process allows.
    pub fn new(namespace: Namespace) -> Self {
        Self { namespace, fuse_overlayfs: false, budget: FdBudget::of_process() }
    }
}

/// A directory of this machine, read-only.
///
/// What is mounted inside the directory is not part of the layer: a mount point shows as the directory under it.
pub struct LocalLayer {
    tree: Arc<Tree>,
    root: Arc<LocalDir>,
}

impl LocalLayer {
    /// Opens `path`, which may be relative and may be a symbolic link.
    ///
    /// # Errors
    /// `NotFound`, `NotDir` or `Access` if it is no directory that can be entered.
    pub fn open(path: &Path, options: &LocalOptions) -> Result<Self> {
        let label: Arc<str> = path.to_string_lossy().into();
        let fd = sys::open_path(path).map_err(|errno| Error::os(errno, "open").in_layer(&label))?;
        let (fd, beneath) = private(fd);
        let tree = Tree::new(label, options, beneath, None);
        Ok(Self { root: LocalDir::root(tree.clone(), fd)?, tree })
    }
}

/// A private clone of the mount, which nothing that is mounted later can cover, or the descriptor itself where
/// cloning is not allowed, and whether mount points must be stepped around.
fn private(fd: OwnedFd) -> (OwnedFd, bool) {
    match sys::clone_mount(fd.as_fd()) {
        Ok(clone) => (clone, false),
        // Without the privilege, without the call, or with mounts inside that a user namespace may not uncover.
        Err(_) => (fd, true),
    }
}

#[async_trait]
impl Layer for LocalLayer {
    fn label(&self) -> &Arc<str> {
        &self.tree.label
    }

    async fn root(&self) -> Result<Arc<dyn Dir>> {
        Ok(self.root.clone())
    }

    async fn statfs(&self) -> Result<StatFs> {
        sys::statfs(self.root.fd()?.as_fd()).map_err(|errno| self.tree.fail(errno, "statfs", None))
    }

    async fn find(&self, id: &FileId) -> Result<Option<Attr>> {
        self.root.find(id)
    }

    fn has_xattrs(&self) -> bool {
        true
    }

    fn has_backing(&self) -> bool {
        true
    }
}

/// Runs what may block for long on tokio's blocking pool, so that no FUSE worker waits for it; at once where
/// there is no runtime.
async fn blocking<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return Ok(call()) };
    runtime.spawn_blocking(call).await.map_err(|e| Error::new(Kind::Io, "blocking").because(e))
}
