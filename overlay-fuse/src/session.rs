//! A mounted union: the threads that serve it, and its end.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use fuser::{Config, Session, SessionACL};
use overlay_core::overlay::Overlay;
use tokio::runtime::Handle;

use crate::adapter::Adapter;
use crate::mount::{Identity, MountError, MountOptions, connect};

/// A union that is mounted and served. Dropping it unmounts nothing; see [`Unmounter`].
pub struct Mounted {
    unmounter: Unmounter,
    server: JoinHandle<std::io::Result<()>>,
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
    let mut config = Config::default();
    config.n_threads = Some(options.threads.max(2));
    config.clone_fd = true;
    // Who may enter is the kernel's decision, by allow_other.
    config.acl = SessionACL::All;
    let device = connection.device.try_clone().map_err(MountError::Session)?;
    let session = Session::from_fd(Adapter::new(overlay, runtime), device, SessionACL::All, config);
    let session = session.map_err(MountError::Session)?;
    let ended = Arc::new(AtomicBool::new(false));
    let end = ended.clone();
    let server = std::thread::Builder::new().name("fuse-session".into()).spawn(move || {
        let result = session.run();
        end.store(true, Ordering::SeqCst);
        result
    });
    let server = server.map_err(MountError::Session)?;
    let identity = connection.show(target)?;
    Ok(Mounted { unmounter: Unmounter { identity, ended }, server })
}

impl Mounted {
    /// What unmounts it.
    pub fn unmounter(&self) -> Unmounter {
        self.unmounter.clone()
    }

    /// Waits until the union is unmounted, by whomever, and everything is written.
    pub fn wait(self) -> Result<(), MountError> {
        match self.server.join() {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) if is_unmount(&error) => Ok(()),
            Ok(Err(error)) => Err(MountError::Session(error)),
            Err(_) => Err(MountError::Session(std::io::Error::other("a thread of the session panicked"))),
        }
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
