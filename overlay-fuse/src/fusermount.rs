//! Mounting as an ordinary user, by the set-user-ID helper `fusermount3`.
//!
//! Its protocol (fuse3, `util/fusermount.c`): it is given a socket by the number in `_FUSE_COMMFD` and sends the
//! connected `/dev/fuse` over it once it has mounted. The socket is its standard input here.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType, recvmsg,
    socketpair,
};

use crate::mount::{MountError, MountOptions, SUBTYPE};

const PROGRAM: &str = "fusermount3";

/// Mounts on `target` and returns the connected device.
pub(crate) fn mount(target: &Path, options: &MountOptions) -> Result<OwnedFd, MountError> {
    let pair = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let (ours, theirs) = pair.map_err(|e| MountError::Session(e.into()))?;
    let mut command = Command::new(PROGRAM);
    command.arg("-o").arg(option_list(options)).arg("--").arg(target);
    command.env("_FUSE_COMMFD", "0").stdin(theirs).stdout(Stdio::null()).stderr(Stdio::piped());
    let output = finish(command)?;
    receive(&ours).ok_or_else(|| MountError::Fusermount(complaint(&output)))
}

/// Unmounts, even what is in use if `lazy`.
pub(crate) fn unmount(target: &Path, lazy: bool) -> Result<(), MountError> {
    let mut command = Command::new(PROGRAM);
    let how: &[&str] = if lazy { &["-u", "-z", "--"] } else { &["-u", "--"] };
    command.args(how).arg(target).stdin(Stdio::null()).stderr(Stdio::piped());
    let output = finish(command)?;
    if output.status.success() { Ok(()) } else { Err(MountError::Fusermount(complaint(&output))) }
}

fn finish(mut command: Command) -> Result<Output, MountError> {
    let output = command.spawn().and_then(|child| child.wait_with_output());
    output.map_err(|error| MountError::Fusermount(error.to_string()))
}

fn complaint(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if text.is_empty() { format!("it ended with {}", output.status) } else { text }
}

/// The options in the helper's syntax, in which a comma and a backslash in a value are escaped.
fn option_list(options: &MountOptions) -> String {
    let source = options.source.replace('\\', "\\\\").replace(',', "\\,");
    let flags = options.flags;
    let mut list = vec![if flags.read_only { "ro" } else { "rw" }, "default_permissions"];
    for (set, option) in
        [(flags.no_exec, "noexec"), (flags.no_atime, "noatime"), (options.allow_other, "allow_other")]
    {
        if set {
            list.push(option);
        }
    }
    format!("{},subtype={SUBTYPE},fsname={source}", list.join(","))
}

/// One descriptor from a socket.
fn receive(socket: &OwnedFd) -> Option<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut data = [IoSliceMut::new(&mut byte)];
    recvmsg(socket, &mut data, &mut control, RecvFlags::CMSG_CLOEXEC).ok()?;
    control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mount::MountFlags;

    #[test]
    fn values_cannot_smuggle_options_in() {
        let options = MountOptions {
            source: "a,dev,suid\\".into(),
            flags: MountFlags { read_only: true, ..MountFlags::default() },
            allow_other: false,
            threads: 2,
        };
        assert_eq!(option_list(&options), "ro,default_permissions,subtype=overlay,fsname=a\\,dev\\,suid\\\\");
    }
}
