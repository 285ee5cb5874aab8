//! Passthrough: the kernel reads and writes the file behind a handle by itself.
//!
//! The kernel wants all handles that are open on one inode at a time to be of one sort: all through its page cache,
//! or all passed through to one backing file. A lower file of a writable mount is never passed through: a copy-up
//! would leave its handles, and with them the writes of others, on the lower file.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use fuser::BackingId;

/// Which inodes are open, and how.
#[derive(Default)]
pub(crate) struct Passthrough {
    allowed: AtomicBool,
    open: Mutex<HashMap<u64, Sort>>,
}

/// How the open handles of an inode reach its data, and how many there are.
enum Sort {
    Cached(usize),
    Passed(Arc<BackingId>, usize),
}

/// What a new handle is told.
pub(crate) enum Way {
    Cached,
    Passed(Arc<BackingId>),
}

impl Passthrough {
    /// The kernel offers it: try it.
    pub(crate) fn allow(&self) {
        self.allowed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_allowed(&self) -> bool {
        self.allowed.load(Ordering::Relaxed)
    }

    /// Decides for a new handle of an inode. `backing` registers the file behind it, if there is one that may be
    /// passed through; the first refusal for want of privilege ends all attempts.
    pub(crate) fn opened(
        &self,
        ino: u64,
        backing: impl FnOnce() -> Option<std::io::Result<BackingId>>,
    ) -> Way {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match open.entry(ino) {
            Entry::Occupied(mut known) => match known.get_mut() {
                Sort::Cached(count) => {
                    *count += 1;
                    Way::Cached
                }
                Sort::Passed(id, count) => {
                    *count += 1;
                    Way::Passed(id.clone())
                }
            },
            Entry::Vacant(slot) => match self.register(backing) {
                None => {
                    slot.insert(Sort::Cached(1));
                    Way::Cached
                }
                Some(id) => {
                    slot.insert(Sort::Passed(id.clone(), 1));
                    Way::Passed(id)
                }
            },
        }
    }

    fn register(
        &self,
        backing: impl FnOnce() -> Option<std::io::Result<BackingId>>,
    ) -> Option<Arc<BackingId>> {
        if !self.is_allowed() {
            return None;
        }
        match backing()? {
            Ok(id) => Some(Arc::new(id)),
            Err(error) => {
                if error.raw_os_error() == Some(rustix::io::Errno::PERM.raw_os_error()) {
                    self.allowed.store(false, Ordering::Relaxed);
                }
                tracing::debug!(%error, "no passthrough");
                None
            }
        }
    }

    /// A handle of an inode was closed.
    pub(crate) fn closed(&self, ino: u64) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut known) = open.entry(ino) {
            let count = match known.get_mut() {
                Sort::Cached(count) | Sort::Passed(_, count) => count,
            };
            *count -= 1;
            if *count == 0 {
                known.remove();
            }
        }
    }
}

/// Registers a file with the connection of a reply.
pub(crate) trait Backing {
    fn register(&self, fd: BorrowedFd<'_>) -> std::io::Result<BackingId>;
}

impl Backing for fuser::ReplyOpen {
    fn register(&self, fd: BorrowedFd<'_>) -> std::io::Result<BackingId> {
        self.open_backing(fd)
    }
}

impl Backing for fuser::ReplyCreate {
    fn register(&self, fd: BorrowedFd<'_>) -> std::io::Result<BackingId> {
        self.open_backing(fd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inode_stays_cached_until_its_last_cached_handle_is_closed() {
        let passthrough = Passthrough::default();
        passthrough.allow();
        assert!(matches!(passthrough.opened(7, || None), Way::Cached));
        let asked = || panic!("a second handle must not register a file while a cached one is open");
        assert!(matches!(passthrough.opened(7, asked), Way::Cached));
        passthrough.closed(7);
        passthrough.closed(7);
        let mut asked = false;
        passthrough.opened(7, || {
            asked = true;
            None
        });
        assert!(asked, "a first handle is free to choose");
    }

    #[test]
    fn a_missing_privilege_ends_all_attempts() {
        let passthrough = Passthrough::default();
        passthrough.allow();
        let refusal = || Some(Err(std::io::Error::from_raw_os_error(rustix::io::Errno::PERM.raw_os_error())));
        assert!(matches!(passthrough.opened(7, refusal), Way::Cached));
        assert!(!passthrough.is_allowed());
    }
}
