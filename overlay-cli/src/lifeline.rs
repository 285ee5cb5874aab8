//! How `overlay umount` learns that a mount's server has gone, and with it the locks on the upper.
//!
//! The end of a FUSE mount is not the end of its server, which may still be letting go of its layers. So a server
//! listens, as long as it lives, on an abstract Unix socket that is named after the device of its mount. Whoever
//! unmounts connects first and then waits for the connection to break, which the system does for a server that
//! ends in whatever way. Nothing is ever sent, and nothing is left behind.
//!
//! Abstract names belong to a network namespace: from another one there is no server to be seen, nor waited for.

use std::io::{self, Read};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::{Duration, Instant};

use crate::mounts::Entry;

/// A server's end: as long as it exists, the server is not gone.
pub(crate) struct Lifeline {
    _socket: UnixListener,
}

/// How long a server waits for the name of its predecessor, whose device number it was given.
const PATIENCE: Duration = Duration::from_secs(1);

impl Lifeline {
    /// Holds the lifeline of a mount.
    pub(crate) fn hold(mount: &Entry) -> io::Result<Self> {
        let address = address(mount)?;
        let end = Instant::now() + PATIENCE;
        loop {
            match UnixListener::bind_addr(&address) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < end => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                bound => return Ok(Self { _socket: bound? }),
            }
        }
    }
}

/// A client's end.
pub(crate) struct Watch(UnixStream);

impl Watch {
    /// Watches the server of a mount; `None` if there is none to be seen.
    pub(crate) fn of(mount: &Entry) -> Option<Self> {
        UnixStream::connect_addr(&address(mount).ok()?).ok().map(Self)
    }

    /// Waits for the server's end; `false` if it takes longer than `limit`.
    pub(crate) fn wait(mut self, limit: Duration) -> io::Result<bool> {
        self.0.set_read_timeout(Some(limit))?;
        match self.0.read(&mut [0]) {
            Ok(0..) => Ok(true),
            Err(error) => match error.kind() {
                io::ErrorKind::ConnectionReset => Ok(true),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Ok(false),
                _ => Err(error),
            },
        }
    }
}

fn address(mount: &Entry) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("overlay-mount/{}", mount.device))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(device: &str) -> Entry {
        // No real device has such a number, and no other test process has this one.
        crate::mounts::tests_entry(&format!("test-{}:{device}", std::process::id()))
    }

    #[test]
    fn a_watch_ends_with_the_server_and_not_before() {
        let mount = mount("1");
        assert!(Watch::of(&mount).is_none());
        let lifeline = Lifeline::hold(&mount).unwrap();
        assert!(!Watch::of(&mount).unwrap().wait(Duration::from_millis(20)).unwrap());
        let watch = Watch::of(&mount).unwrap();
        let server = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            drop(lifeline);
        });
        assert!(watch.wait(Duration::from_secs(10)).unwrap());
        server.join().unwrap();
        assert!(Watch::of(&mount).is_none());
    }

    #[test]
    fn a_successor_waits_for_the_name() {
        let mount = mount("2");
        let first = Lifeline::hold(&mount).unwrap();
        let server = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            drop(first);
        });
        Lifeline::hold(&mount).unwrap();
        server.join().unwrap();
    }
}
