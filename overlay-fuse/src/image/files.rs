//! Files that are being read. The kernel opens and closes the files of an image without telling, so they are opened
//! at the first read and closed when nobody has read them for a while.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;
use overlay_core::layer::File;

/// Files that were read lately, the latest first.
pub(super) struct Files(Mutex<LruCache<u64, Held>>);

struct Held {
    file: Arc<dyn File>,
    read: Instant,
}

/// Files that are kept open: each may hold what it has read ahead.
const OPEN: NonZeroUsize = NonZeroUsize::MIN.saturating_add(63);

/// How long a file stays open that nobody reads.
pub(super) const IDLE: Duration = Duration::from_secs(5);

impl Files {
    pub(super) fn new() -> Self {
        Self(Mutex::new(LruCache::new(OPEN)))
    }

    fn held(&self) -> MutexGuard<'_, LruCache<u64, Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The open file of an inode.
    pub(super) fn get(&self, ino: u64) -> Option<Arc<dyn File>> {
        let mut held = self.held();
        let known = held.get_mut(&ino)?;
        known.read = Instant::now();
        Some(known.file.clone())
    }

    /// Keeps a file that was just opened, or returns the one that somebody else opened first: what one has read
    /// ahead serves both.
    pub(super) fn keep(&self, ino: u64, file: Arc<dyn File>) -> Arc<dyn File> {
        let mut held = self.held();
        held.get_or_insert(ino, || Held { file, read: Instant::now() }).file.clone()
    }

    /// Closes the file of an inode that nobody knows any more.
    pub(super) fn close(&self, ino: u64) {
        let closed = self.held().pop(&ino);
        drop(closed);
    }

    /// Closes what nobody has read since `before`.
    pub(super) fn close_idle(&self, before: Instant) {
        let mut idle = Vec::new();
        let mut held = self.held();
        while held.peek_lru().is_some_and(|(_, oldest)| oldest.read < before) {
            idle.extend(held.pop_lru());
        }
        // Closing may take its time.
        drop(held);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "in a test a failure is a panic")]
mod tests {
    use super::*;
    use overlay_core::conformance::block_on;
    use overlay_core::memory::MemoryLayer;
    use overlay_core::{Layer, Name};

    fn file() -> Arc<dyn File> {
        let layer = MemoryLayer::builder("m").file("f", "x").build().unwrap();
        block_on(async { layer.root().await.unwrap().file(&Name::new("f").unwrap()).await.unwrap() })
    }

    #[test]
    fn the_least_read_are_closed_first_and_the_idle_ones_at_all() {
        let files = Files::new();
        for ino in 0..OPEN.get() as u64 {
            files.keep(ino, file());
        }
        files.get(0).unwrap();
        files.keep(1000, file());
        assert!(files.get(0).is_some() && files.get(1).is_none());
        let first = files.keep(7, file());
        assert!(Arc::ptr_eq(&first, &files.keep(7, file())), "one file for all readers");
        files.close(7);
        assert!(files.get(7).is_none());
        files.close_idle(Instant::now() - IDLE);
        assert!(files.get(0).is_some());
        files.close_idle(Instant::now() + IDLE);
        assert!(files.get(0).is_none());
    }
}
