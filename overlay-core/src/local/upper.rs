//! A local directory as upper layer, with its work directory.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rustix::io::Errno;

use super::dir::LocalDir;
use super::tree::{Tree, is_whiteout};
use super::whiteout::Whiteouts;
use super::{LocalLayer, LocalOptions, private, sys};
use crate::attr::{Attr, StatFs};
use crate::entry::FileId;
use crate::error::{Error, Kind, Result};
use crate::layer::{Dir, Layer, SetXattr, UpperDir, UpperLayer};
use crate::marker::kernel::Namespace;
use crate::merge::inherit::{ACCESS_ACL, DEFAULT_ACL};

/// A directory of this machine that receives what is written, and the work directory beside it.
///
/// The work directory is used as the kernel's overlayfs uses it: everything unfinished lies in its
/// subdirectory `work`. Both directories are locked while the layer lives, so that no second mount uses them.
pub struct LocalUpper {
    layer: LocalLayer,
    work: Arc<LocalDir>,
    /// The directory that the user named as work.
    workdir: OwnedFd,
    _locks: [OwnedFd; 2],
}

impl LocalUpper {
    /// Opens `upper` and `work`.
    ///
    /// # Errors
    /// `NotFound`, `NotDir`, `Access` if either is no usable directory; `Invalid` if they are not two separate
    /// directories of one mount, or a volatile mount left its mark; `Busy` if another mount uses one of them;
    /// `Unsupported` if the file system has no xattrs.
    pub fn open(upper: &Path, work: &Path, options: &LocalOptions) -> Result<Self> {
        let label: Arc<str> = upper.to_string_lossy().into();
        let (root, work_fd, beneath) = open_pair(upper, work)?;
        refuse_volatile(work_fd.as_fd(), work)?;
        let locks = [hold(root.as_fd(), upper)?, hold(work_fd.as_fd(), work)?];
        let staging = private_dir(work_fd.as_fd(), b"work").map_err(|e| unusable(e, work))?;
        let whiteouts = probe(staging.as_fd(), options.namespace, upper)?;
        let tree = Tree::new(label, options, beneath, Some(whiteouts));
        let root = LocalDir::root(tree.clone(), root)?;
        if whiteouts == Whiteouts::Xattrs {
            root.hold_whiteouts()?;
        }
        let work = LocalDir::root(tree.clone(), staging)?;
        Ok(Self { layer: LocalLayer { tree, root }, work, workdir: work_fd, _locks: locks })
    }

    /// Leaves the kernel's mark of a volatile mount: nothing is synced from now on, so after a crash of the machine the
    /// upper may be incomplete, and the next mount refuses it until somebody has looked and removed the mark.
    pub fn mark_volatile(&self) -> Result<()> {
        let mut dir = self.work.fd()?.try_clone().map_err(|e| Error::new(Kind::Io, "volatile").because(e))?;
        for name in [&b"incompat"[..], b"volatile", b"dirty"] {
            let made = match sys::mkdir(dir.as_fd(), name, 0o700) {
                Err(Errno::EXIST) => Ok(()),
                other => other,
            };
            let opened = made.and_then(|()| sys::open_dir(dir.as_fd(), name, false));
            dir = opened.map_err(|e| self.layer.tree.fail(e, "volatile", None))?;
        }
        Ok(())
    }

    /// Which xattrs this process can mark directories with on the file system of `upper`: `trusted.` where it
    /// may, else `user.`.
    pub fn namespace(work: &Path) -> Result<Namespace> {
        let fd = sys::open_path(work).map_err(|e| unusable(e, work))?;
        let key = Namespace::Trusted.prefix().to_owned() + "probe";
        match sys::set_xattr(fd.as_fd(), b"", key.as_bytes(), b"y", SetXattr::Any) {
            Ok(()) => sys::remove_xattr(fd.as_fd(), b"", key.as_bytes()).map_err(|e| unusable(e, work))?,
            Err(Errno::PERM | Errno::OPNOTSUPP) => return Ok(Namespace::User),
            Err(errno) => return Err(unusable(errno, work)),
        }
        Ok(Namespace::Trusted)
    }
}

/// Opens both directories on one mount: a rename between two mounts fails even on one file system. Clones made
/// one by one would be two mounts, so the directory above both is cloned and they are opened within it.
fn open_pair(upper: &Path, work: &Path) -> Result<(OwnedFd, OwnedFd, bool)> {
    let real = |path: &Path| {
        let fd = sys::open_path(path).map_err(|e| unusable(e, path))?;
        let real =
            path.canonicalize().map_err(|e| unusable(Errno::from_io_error(&e).unwrap_or(Errno::IO), path))?;
        Ok::<_, Error>((fd, real))
    };
    let ((upper_fd, upper_real), (work_fd, work_real)) = (real(upper)?, real(work)?);
    if upper_real.starts_with(&work_real) || work_real.starts_with(&upper_real) {
        let sentence = format!("upper {} and work {} must be separate directories", show(upper), show(work));
        return Err(invalid(sentence));
    }
    let mount = |fd: &OwnedFd, path| sys::mount_id(fd.as_fd()).map_err(|e| unusable(e, path));
    if mount(&upper_fd, upper)? != mount(&work_fd, work)? {
        let sentence =
            format!("work {} must be on the same mounted file system as upper {}", show(work), show(upper));
        return Err(invalid(sentence));
    }
    let above = common_ancestor(&upper_real, &work_real);
    let above_fd = sys::open_path(&above).map_err(|e| unusable(e, &above))?;
    match private(above_fd) {
        (clone, false) => {
            let within = |real: &Path, path| open_within(&clone, &above, real).map_err(|e| unusable(e, path));
            Ok((within(&upper_real, upper)?, within(&work_real, work)?, false))
        }
        (_, true) => Ok((upper_fd, work_fd, true)),
    }
}

fn common_ancestor(a: &Path, b: &Path) -> PathBuf {
    let shared = a.components().zip(b.components()).take_while(|(a, b)| a == b);
    shared.map(|(component, _)| component).collect()
}

/// Walks from `above` (open as `fd`) down to `real`, one component at a time.
fn open_within(fd: &OwnedFd, above: &Path, real: &Path) -> sys::Sys<OwnedFd> {
    let below = real.strip_prefix(above).map_err(|_| Errno::INVAL)?;
    let mut at = fd.try_clone().map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
    for component in below.components() {
        if let Component::Normal(name) = component {
            at = sys::open_dir(at.as_fd(), name.as_bytes(), false)?;
        }
    }
    Ok(at)
}

/// A volatile mount that did not end cleanly may have lost what it never synced.
fn refuse_volatile(work: BorrowedFd<'_>, path: &Path) -> Result<()> {
    let inner = match sys::open_dir(work, b"work", false) {
        Ok(inner) => inner,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(unusable(errno, path)),
    };
    match sys::stat(inner.as_fd(), b"incompat") {
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(unusable(errno, path)),
        Ok(_) => Err(invalid(format!(
            "upper was last mounted volatile and may be incomplete; check it, then remove {}/work/incompat",
            show(path)
        ))),
    }
}

/// Takes the lock of a directory. A mount that has just ended may still be writing its last to the disk, so the
/// lock is waited for a moment.
fn hold(dir: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd> {
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        if let Some(held) = sys::lock(dir).map_err(|e| unusable(e, path))? {
            return Ok(held);
        }
        if Instant::now() >= deadline {
            let sentence = format!("{} is in use by another mount", show(path));
            return Err(Error::new(Kind::Busy, "mount").because(sentence));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// How long an upper may still be held by a mount that is ending.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// Makes a directory in work, without any permission where the process gets in all the same. ACLs that it
/// inherits are taken off: everything that is prepared in it would inherit them, and carry them into the upper.
fn private_dir(work: BorrowedFd<'_>, name: &[u8]) -> sys::Sys<OwnedFd> {
    let mode = if sys::is_root() { 0 } else { 0o700 };
    match sys::mkdir(work, name, mode) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    let staging = sys::open_dir(work, name, false)?;
    for acl in [ACCESS_ACL, DEFAULT_ACL] {
        match sys::remove_xattr(staging.as_fd(), b"", acl) {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno),
        }
    }
    sys::chmod(staging.as_fd(), mode)?;
    Ok(staging)
}

/// Finds out now what would fail in the middle of somebody's work: marks must be possible, and so whiteouts are, by
/// devices or by marks.
fn probe(staging: BorrowedFd<'_>, namespace: Namespace, upper: &Path) -> Result<Whiteouts> {
    let key = namespace.prefix().to_owned() + "probe";
    let xattr = sys::set_xattr(staging, b"", key.as_bytes(), b"y", SetXattr::Any)
        .and_then(|()| sys::remove_xattr(staging, b"", key.as_bytes()));
    xattr.map_err(|errno| {
        let prefix = namespace.prefix();
        let sentence = format!(
            "upper {} lies on a file system without {prefix} xattrs ({errno}); use one on ext4, xfs, btrfs or tmpfs",
            show(upper)
        );
        Error::new(Kind::Unsupported, "mount").because(sentence)
    })?;
    let name = b"#probe";
    match sys::mknod(staging, name, crate::attr::Kind::Char, 0, 0) {
        Ok(()) | Err(Errno::EXIST) => {}
        // An overlay refuses them, and some file systems have no devices.
        Err(_) => return Ok(Whiteouts::Xattrs),
    }
    // Some have a file of another kind in its place.
    let made = sys::stat(staging, name).map_err(|e| unusable(e, upper))?;
    sys::unlink(staging, name).map_err(|e| unusable(e, upper))?;
    Ok(if is_whiteout(&made) { Whiteouts::Devices } else { Whiteouts::Xattrs })
}

fn show(path: &Path) -> std::path::Display<'_> {
    path.display()
}

fn invalid(sentence: String) -> Error {
    Error::new(Kind::Invalid, "mount").because(sentence)
}

fn unusable(errno: Errno, path: &Path) -> Error {
    let label: Arc<str> = path.to_string_lossy().into();
    Error::os(errno, "open").in_layer(&label)
}

#[async_trait]
impl Layer for LocalUpper {
    fn label(&self) -> &Arc<str> {
        self.layer.label()
    }
    async fn root(&self) -> Result<Arc<dyn Dir>> {
        self.layer.root().await
    }
    async fn statfs(&self) -> Result<StatFs> {
        self.layer.statfs().await
    }
    async fn find(&self, id: &FileId) -> Result<Option<Attr>> {
        self.layer.find(id).await
    }

    fn has_xattrs(&self) -> bool {
        self.layer.has_xattrs()
    }
}

#[async_trait]
impl UpperLayer for LocalUpper {
    async fn upper_root(&self) -> Result<Arc<dyn UpperDir>> {
        Ok(self.layer.root.clone())
    }

    async fn work(&self) -> Result<Arc<dyn UpperDir>> {
        Ok(self.work.clone())
    }

    async fn index(&self) -> Result<Option<Arc<dyn UpperDir>>> {
        let tree = &self.layer.tree;
        let fd = private_dir(self.workdir.as_fd(), b"index").map_err(|e| tree.fail(e, "index", None))?;
        Ok(Some(LocalDir::root(tree.clone(), fd)?))
    }

    async fn sync(&self) -> Result<()> {
        let fd = self.layer.root.fd()?;
        super::blocking(move || sys::sync_fs(fd.as_fd()))
            .await?
            .map_err(|e| self.layer.tree.fail(e, "syncfs", None))
    }
}
