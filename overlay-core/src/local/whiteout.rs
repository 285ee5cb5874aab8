//! Whiteouts of an upper: 0:0 devices or, on a file system that has none (an overlay, say), empty files with an xattr.
//!
//! Format: `Documentation/filesystems/overlayfs.rst` of Linux, "whiteouts and opaque directories": a directory that holds
//! such files, and the root of their layer, have `overlay.opaque` set to `x`. The kernel reads them and never writes
//! them.

use std::os::fd::AsFd;

use rustix::io::Errno;

use super::dir::LocalDir;
use super::sys;
use crate::attr::Kind;
use crate::entry::{Found, Mark};
use crate::error::Result;
use crate::layer::{Rename, SetXattr};
use crate::marker::kernel::HOLDS_WHITEOUTS;
use crate::name::Name;

/// How an upper writes whiteouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whiteouts {
    /// As 0:0 character devices.
    Devices,
    /// As empty files with an xattr.
    Xattrs,
}

impl LocalDir {
    /// Makes a whiteout. `Exists` if the name exists.
    pub(super) fn make_whiteout(&self, name: &Name) -> Result<()> {
        if self.tree.whiteouts == Whiteouts::Devices {
            return self
                .with("whiteout", Some(name), |dir| sys::mknod(dir, name.as_bytes(), Kind::Char, 0, 0));
        }
        self.hold_whiteouts()?;
        let key = self.tree.namespace.key(Mark::Whiteout);
        self.with("whiteout", Some(name), |dir| {
            let file = sys::create(dir, name.as_bytes(), 0)?;
            let marked = sys::set_xattr(file.as_fd(), b"", key.as_bytes(), b"y", SetXattr::Any);
            match marked {
                Ok(()) => Ok(()),
                // Without its mark it would be a file that nobody made; what is told is why it has none.
                Err(errno) => sys::unlink(dir, name.as_bytes()).and(Err(errno)),
            }
        })
    }

    /// Marks the directory as one that may hold whiteouts of the second kind, for others who read it.
    pub(super) fn hold_whiteouts(&self) -> Result<()> {
        let key = self.tree.namespace.key(Mark::Opaque);
        self.with("whiteout", None, |dir| {
            match sys::set_xattr(dir, b"", key.as_bytes(), HOLDS_WHITEOUTS, SetXattr::Create) {
                Err(Errno::EXIST) => Ok(()),
                marked => marked,
            }
        })
    }

    /// Before a rename: the directory that gets a whiteout of the second kind is marked. Such a whiteout cannot be left
    /// behind in the same step: `Invalid`, as where the file system has no `RENAME_WHITEOUT`.
    pub(super) fn mark_holders(&self, name: &Name, to: &Self, to_name: &Name, how: Rename) -> Result<()> {
        if self.tree.whiteouts == Whiteouts::Devices {
            return Ok(());
        }
        if how == Rename::Whiteout {
            return Err(self.tree.fail(Errno::INVAL, "rename", Some(name)));
        }
        if self.is_xattr_whiteout(name)? {
            to.hold_whiteouts()?;
        }
        if how == Rename::Exchange && to.is_xattr_whiteout(to_name)? {
            self.hold_whiteouts()?;
        }
        Ok(())
    }

    /// Whether the name is a whiteout of the second kind that this upper wrote.
    pub(super) fn is_xattr_whiteout(&self, name: &Name) -> Result<bool> {
        Ok(self.tree.whiteouts == Whiteouts::Xattrs && self.lookup_now(name)? == Some(Found::Whiteout))
    }
}
