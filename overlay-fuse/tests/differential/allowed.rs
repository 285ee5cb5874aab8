//! Every difference from the kernel's overlayfs that is meant to be, with its reason.

use rustix::io::Errno;

use super::op::{Op, Step};
use super::side::Outcome;

/// A difference that is allowed.
pub struct Allowed {
    pub reason: &'static str,
    /// The trees differ from here on: the sequence ends.
    pub parts: bool,
    /// Only where a lower holds whiteouts that are files with a mark.
    pub xattr_whiteouts: bool,
    /// Only with an index.
    pub index: bool,
    pub applies: fn(&Step, &Outcome, &Outcome) -> bool,
}

/// Not asked at all, because the answers must differ or the sequence would part ways:
/// - inode and device numbers: the union has its own (only whether two are the same is compared);
/// - ctime, atime, blocks and the sizes of directories: the layers' own affair;
/// - the link count of directories: an ancestor's count becomes 1 when it is copied up, which the kernel's FUSE client
///   asks again for only after it forgot the directory;
/// - lseek on directories: FUSE's own client answers it;
/// - whiteouts in a directory that does not merge: the kernel lists them (and finds nothing there), we do not;
/// - a change of attributes through a handle of a special file: if that was a lower one and is unlinked by now, the
///   kernel (6.18) copies it up over the whiteout, and the deleted file is back;
/// - the same of a directory that is removed: the kernel copies it up over what has the name by now, if that looks empty in
///   the upper, and the content of a directory that was renamed to there is lost;
/// - fallocate with collapse or insert: FUSE has no such request.
pub const ALLOWED: [Allowed; 6] = [
    Allowed {
        reason: "a file that goes to the index takes directories to the upper: we those of the name that was known first, the \
                 kernel those of the name that is used; from there an ACL is removed that is not there",
        parts: false,
        xattr_whiteouts: false,
        index: true,
        applies: |step, kernel, ours| {
            let acl = matches!(step.op, Op::RemoveXattr { key, .. } if key.starts_with("system.posix_acl_"));
            let one = |some: &Outcome, other: &Outcome| some.is_ok() && *other == Err(Errno::NODATA);
            acl && (one(kernel, ours) || one(ours, kernel))
        },
    },
    Allowed {
        reason: "a file that was copied up without its data gets it when it is opened for writing; the kernel then \
                 shows the time of that as its last change, though nobody wrote to it",
        parts: false,
        xattr_whiteouts: false,
        index: false,
        applies: |step, kernel, ours| {
            let stat = matches!(step.op, Op::HandleStat { .. } | Op::Stat { .. });
            let time = |outcome: &Outcome| Some(facts(outcome)?.1);
            let rest = |outcome: &Outcome| Some(facts(outcome)?.0);
            stat && time(kernel).as_deref() == Some("now") && rest(kernel) == rest(ours)
        },
    },
    Allowed {
        reason: "a lower object that is unlinked has no links for those who have it open; the kernel shows the lower's",
        parts: false,
        xattr_whiteouts: false,
        index: false,
        applies: |step, kernel, ours| {
            let (some, none) = ("\"nlink\": \"some\"", "\"nlink\": \"0\"");
            let stat = matches!(step.op, Op::HandleStat { .. });
            stat && kernel.clone().map(|facts| facts.replace(some, none)) == *ours
        },
    },
    Allowed {
        reason: "a chown that changes nothing, of a set-user-ID file that somebody writes to: FUSE's client asks for it \
                 in the words of a write that it did by itself",
        parts: true,
        xattr_whiteouts: false,
        index: false,
        applies: |step, kernel, ours| {
            let nothing = matches!(step.op, Op::Chown { uid: None, gid: None, .. });
            step.user && nothing && *kernel == Err(Errno::PERM) && ours.is_ok()
        },
    },
    Allowed {
        parts: false,
        xattr_whiteouts: false,
        index: false,
        reason: "a lower object that is removed: its attributes can be changed by those who have it open; the kernel \
                 tries to copy it up to its old name and fails",
        applies: |step, kernel, ours| {
            let refused = matches!(kernel, Err(Errno::EXIST | Errno::NOTDIR | Errno::NOENT));
            step.op.changes_attributes_of().is_some() && refused && ours.is_ok()
        },
    },
    Allowed {
        reason: "a directory that does not merge and holds such a whiteout looks empty, but the kernel does not remove it",
        parts: true,
        xattr_whiteouts: true,
        index: false,
        applies: |step, kernel, ours| {
            matches!(step.op, Op::Rmdir { .. } | Op::RemoveAll { .. } | Op::Rename { .. })
                && *kernel == Err(Errno::NOTEMPTY)
                && ours.is_ok()
        },
    },
];

/// What a stat shows, without its time of last change, and that.
fn facts(outcome: &Outcome) -> Option<(String, String)> {
    let text = outcome.as_ref().ok()?;
    let (before, after) = text.split_once("\"mtime\": \"")?;
    let (time, after) = after.split_once('"')?;
    Some((format!("{before}{after}"), time.to_owned()))
}

/// The allowance under which two outcomes may differ.
pub fn allowed(
    (xattr_whiteouts, index): (bool, bool),
    step: &Step,
    kernel: &Outcome,
    ours: &Outcome,
) -> Option<&'static Allowed> {
    let fits =
        |allowed: &&Allowed| (xattr_whiteouts || !allowed.xattr_whiteouts) && (index || !allowed.index);
    ALLOWED.iter().filter(fits).find(|allowed| (allowed.applies)(step, kernel, ours))
}
