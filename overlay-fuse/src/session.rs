//! A mounted union: the threads that serve it, and its end.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use fuser::{Config, Filesystem, Session, SessionACL};
use overlay_core::overlay::Overlay;
use tokio::runtime::Handle;

use crate::adapter::Adapter;
use crate::mount::{Connection, Identity, MountError, MountOptions, connect, detached};

/// A union that is mounted and served. Dropping it unmounts nothing; see [`Unmounter`].
pub struct Mounted {
    unmounter: Unmounter,
    served: Served,
}

/// Unmounts a union from anywhere, as often as one likes.
#[derive(Clone)]
pub struct Unmounter {
    identity: Identity,
    /// The connection has ended: whatever is mounted there now is another's.
    ended: Arc<AtomicBool>,
}

/// Mounts `overlay` on `target`. When this returns, the mount is in place and answers.
///
/// Operations that wait run on `runtime`, which must live as long as the mount.
pub fn mount(
    overlay: Arc<Overlay>,
    target: &Path,
    options: &MountOptions,
    runtime: Handle,
) -> Result<Mounted, MountError> {
    let connection = connect(target, options)?;
    let served = serve(Adapter::new(overlay, runtime), &connection, options.threads)?;
    Ready { connection, served }.show(target)
}

/// Serves `overlay` on a mount that has no place yet, for who wants to show it later or from elsewhere.
///
/// # Errors
/// [`MountError::is_permission`] for a process that may not mount; [`mount`] then does with the help of `fusermount3`.
pub fn prepare(overlay: Arc<Overlay>, options: &MountOptions, runtime: Handle) -> Result<Ready, MountError> {
    let connection = detached(options)?;
    let served = serve(Adapter::new(overlay, runtime), &connection, options.threads)?;
    Ok(Ready { connection, served })
}

/// A union that is served and cannot be seen yet. Dropped, it ends.
pub struct Ready {
    connection: Connection,
    served: Served,
}

impl Ready {
    /// Puts the union into its place.
    pub fn show(self, target: &Path) -> Result<Mounted, MountError> {
        let Self { connection, served } = self;
        let ended = served.ended.clone();
        let identity = connection.show(target)?;
        Ok(Mounted { unmounter: Unmounter { identity, ended }, served })
    }
}

/// A connection that is served, and the threads that do it.
pub(crate) struct Served {
    threads: JoinHandle<std::io::Result<()>>,
    ended: Arc<AtomicBool>,
}

/// Serves a connection by at least two threads.
pub(crate) fn serve(
    files: impl Filesystem,
    connection: &Connection,
    threads: usize,
) -> Result<Served, MountError> {
    let mut config = Config::default();
    config.n_threads = Some(threads.max(2));
    config.clone_fd = true;
    // Who may enter is the kernel's decision, by allow_other.
    config.acl = SessionACL::All;
    let device = connection.device.try_clone().map_err(MountError::Session)?;
    let session = Session::from_fd(files, device, SessionACL::All, config).map_err(MountError::Session)?;
    let ended = Arc::new(AtomicBool::new(false));
    let end = ended.clone();
    let threads = std::thread::Builder::new().name("fuse-session".into()).spawn(move || {
        let result = session.run();
        end.store(true, Ordering::SeqCst);
        result
    });
    Ok(Served { threads: threads.map_err(MountError::Session)?, ended })
}

impl Served {
    /// Waits until the connection ends because nothing is mounted any more.
    pub(crate) fn wait(self) -> Result<(), MountError> {
        match self.threads.join() {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) if is_unmount(&error) => Ok(()),
            Ok(Err(error)) => Err(MountError::Session(error)),
            Err(_) => Err(MountError::Session(std::io::Error::other("a thread of the session panicked"))),
        }
    }
}

impl Mounted {
    /// What unmounts it.
    pub fn unmounter(&self) -> Unmounter {
        self.unmounter.clone()
    }

    /// Waits until the union is unmounted, by whomever, and everything is written.
    pub fn wait(self) -> Result<(), MountError> {
        self.served.wait()
    }
}

/// How the end of the connection looks to a thread that waits for a request.
fn is_unmount(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::NODEV, Errno::CONNABORTED].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

impl Unmounter {
    /// Unmounts the union, even if it is in use; does nothing if it is unmounted already.
    pub fn unmount(&self) -> Result<(), MountError> {
        if self.ended.load(Ordering::SeqCst) { Ok(()) } else { self.identity.unmount() }
    }
}
