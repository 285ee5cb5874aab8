//! Every difference from the kernel's overlayfs that is meant to be, with its reason.

use rustix::io::Errno;

use super::op::Step;
use super::side::Outcome;

/// A difference that is allowed.
pub struct Allowed {
    pub reason: &'static str,
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
/// - fallocate with collapse or insert: FUSE has no such request.
pub const ALLOWED: [Allowed; 1] = [Allowed {
    reason: "placeholder",
    applies: |_, kernel, ours| *kernel == Err(Errno::NOSYS) && *ours == Err(Errno::NOSYS),
}];

/// The reason why two outcomes may differ.
pub fn allowed(step: &Step, kernel: &Outcome, ours: &Outcome) -> Option<&'static str> {
    ALLOWED.iter().find(|allowed| (allowed.applies)(step, kernel, ours)).map(|allowed| allowed.reason)
}
