//! How `overlay umount` learns that a mount's server has gone, and with it the locks on the upper.
//!
//! The end of a FUSE mount is not the end of its server, which may still be letting go of its layers. So a server
//! listens, as long as it lives, on an abstract Unix socket that is named after the device of its mount. Whoever
//! unmounts connects first and then waits for the connection to break, which the system does for a server that
//! ends in whatever way. Nothing is ever sent.
//!
//! Abstract names belong to a network namespace: from another one there is no server to be seen, nor waited for.

use std::io::{self, Read};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::{Duration, Instant};

use rustix::net::sockopt::socket_peercred;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::{Uid, geteuid};

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
    /// Watches the server of a mount; `None` if there is none to be seen. Anybody may listen on such a name, or connect
    /// until nobody else can: only root, the caller and the mount's owner are believed, and nobody is waited for here.
    pub(crate) fn of(mount: &Entry) -> Option<Self> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).ok()?;
        connect(&socket, &SocketAddrUnix::new_abstract_name(name(mount).as_bytes()).ok()?).ok()?;
        let server = socket_peercred(&socket).ok()?.uid;
        let owner = mount.owner.map_or(Uid::ROOT, Uid::from_raw);
        let is_believed = server.is_root() || server == geteuid() || server == owner;
        let stream = UnixStream::from(socket);
        stream.set_nonblocking(false).ok()?;
        is_believed.then_some(Self(stream))
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
    SocketAddr::from_abstract_name(name(mount))
}

fn name(mount: &Entry) -> String {
    format!("overlay-mount/{}", mount.device)
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
    fn a_server_that_cannot_be_reached_holds_nobody_up() {
        let mount = mount("3");
        let _server = Lifeline::hold(&mount).unwrap();
        // Connections that nobody takes fill the queue.
        let mut crowd = Vec::new();
        while let Some(one) = Watch::of(&mount) {
            crowd.push(one);
            assert!(crowd.len() < 100_000);
        }
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
