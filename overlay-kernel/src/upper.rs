//! Whether an upper can be one, found out by trying in its work directory.
//!
//! The kernel mounts an upper that cannot hold its marks with a warning in the log, and removals and renames fail later.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, XattrFlags, makedev};
use rustix::io::Errno;

use crate::error::KernelError;
use crate::plan::Upper;
use crate::shelter::random;

/// Why `upper` can be no upper, in one sentence; `None` if it can. Tried with `trusted.` attributes, or with `user.`
/// ones where this process may not set the former. See [`upper_refusal_with`].
///
/// # Errors
/// [`KernelError::Trial`] if it cannot be found out: the work directory is missing or may not be written.
pub fn upper_refusal(upper: &Upper) -> Result<Option<String>, KernelError> {
    let trial = Trial::begin(upper);
    trial
        .and_then(|trial| match trial.attributes("trusted") {
            Err(Failed { errno: Errno::PERM, .. }) => trial.run("user"),
            _ => trial.run("trusted"),
        })
        .or_else(|failed| failed.refusal(upper))
}

/// As [`upper_refusal`], for a union with the option `userxattr` or without.
///
/// A directory is made in the work directory, and in it is tried what overlayfs needs: an attribute, a whiteout
/// (a device 0:0), a rename that leaves one. Nothing is left behind. `O_TMPFILE` is not asked for: the kernel does
/// without.
///
/// # Errors
/// As [`upper_refusal`].
pub fn upper_refusal_with(upper: &Upper, userxattr: bool) -> Result<Option<String>, KernelError> {
    let namespace = if userxattr { "user" } else { "trusted" };
    Trial::begin(upper).and_then(|trial| trial.run(namespace)).or_else(|failed| failed.refusal(upper))
}

/// A call that failed, and what cannot be done without it if it is the file system that cannot do it.
struct Failed {
    step: &'static str,
    lacks: &'static str,
    errno: Errno,
}

impl Failed {
    fn refusal(self, upper: &Upper) -> Result<Option<String>, KernelError> {
        let Self { step, lacks, errno } = self;
        let cannot = [Errno::OPNOTSUPP, Errno::INVAL, Errno::PERM, Errno::NOSYS, Errno::ROFS, Errno::NODEV];
        if lacks.is_empty() || !cannot.contains(&errno) {
            let path = upper.work.clone();
            return Err(KernelError::Trial { path, step, cause: errno.into() });
        }
        Ok(Some(format!(
            "{} can be no upper: its file system {lacks} ({step}: {errno}); use one on ext4, xfs, btrfs or tmpfs",
            upper.upper.display()
        )))
    }
}

/// What is tried, in a directory of its own. Dropped, all of it is removed.
struct Trial {
    work: OwnedFd,
    name: String,
    directory: Option<OwnedFd>,
}

/// The names that are made, in the order of their removal.
const NAMES: [&str; 3] = ["whiteout", "old", "new"];

impl Trial {
    fn begin(upper: &Upper) -> Result<Self, Failed> {
        let failed = |step, lacks| move |errno| Failed { step, lacks, errno };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let work = rustix::fs::openat(CWD, &upper.work, flags, Mode::empty()).map_err(failed("open", ""))?;
        let name = random().map_err(failed("getrandom", ""))?;
        let name = format!("overlay-{name}");
        rustix::fs::mkdirat(&work, &*name, Mode::RWXU).map_err(failed("mkdir", "is read-only"))?;
        let mut trial = Self { work, name, directory: None };
        let directory =
            rustix::fs::openat(&trial.work, &*trial.name, flags | OFlags::NOFOLLOW, Mode::empty());
        trial.directory = Some(directory.map_err(failed("open", ""))?);
        Ok(trial)
    }

    fn run(&self, namespace: &'static str) -> Result<Option<String>, Failed> {
        self.attributes(namespace)?;
        self.whiteout()?;
        self.rename()?;
        Ok(None)
    }

    fn directory(&self) -> rustix::io::Result<&OwnedFd> {
        self.directory.as_ref().ok_or(Errno::BADF)
    }

    fn attributes(&self, namespace: &'static str) -> Result<(), Failed> {
        let (step, lacks) = match namespace {
            "user" => ("setxattr user.overlay.trial", "keeps no user attributes"),
            _ => ("setxattr trusted.overlay.trial", "keeps no trusted attributes, or not for this process"),
        };
        let kept = self.directory().and_then(|directory| {
            let name = format!("{namespace}.overlay.trial");
            rustix::fs::fsetxattr(directory, &*name, b"y", XattrFlags::empty())?;
            let mut value = [0_u8; 1];
            let len = rustix::fs::fgetxattr(directory, &*name, &mut value)?;
            if (len, value) == (1, *b"y") { Ok(()) } else { Err(Errno::OPNOTSUPP) }
        });
        kept.map_err(|errno| Failed { step, lacks, errno })
    }

    fn whiteout(&self) -> Result<(), Failed> {
        let made = self.make("whiteout", FileType::CharacterDevice);
        made.map_err(|errno| Failed { step: "mknod 0:0", lacks: "makes no whiteouts", errno })
    }

    fn rename(&self) -> Result<(), Failed> {
        let moved = self.make("old", FileType::RegularFile).and_then(|()| {
            let directory = self.directory()?;
            rustix::fs::renameat_with(directory, "old", directory, "new", RenameFlags::WHITEOUT)
        });
        let lacks = "leaves no whiteout where something is moved away";
        moved.map_err(|errno| Failed { step: "renameat2 RENAME_WHITEOUT", lacks, errno })
    }

    fn make(&self, name: &str, kind: FileType) -> rustix::io::Result<()> {
        rustix::fs::mknodat(self.directory()?, name, kind, Mode::RUSR | Mode::WUSR, makedev(0, 0))
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        // What cannot be removed cannot be told either; the kernel leaves it alone.
        if let Some(directory) = &self.directory {
            for name in NAMES {
                rustix::fs::unlinkat(directory.as_fd(), name, AtFlags::empty()).ok();
            }
        }
        rustix::fs::unlinkat(&self.work, &*self.name, AtFlags::REMOVEDIR).ok();
    }
}
