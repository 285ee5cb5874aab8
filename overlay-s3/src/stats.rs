//! Counters of a layer: what it asked of the store, and which keys it cannot show.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a layer has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Pages of keys asked for (LIST), retries not counted.
    pub lists: u64,
    /// Objects or ranges asked for (GET), retries not counted.
    pub gets: u64,
    /// Bytes of content received.
    pub bytes_read: u64,
    /// Names that exist in the store and cannot be shown.
    pub hidden: Hidden,
}

/// Names that cannot be shown, by reason. Each name of a directory counts once, however many keys lie below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hidden {
    /// An empty path segment: `a//b`, or a key that begins with `/`.
    pub empty: u64,
    /// A segment `.` or `..`.
    pub dots: u64,
    /// An ASCII control character, NUL among them.
    pub control: u64,
    /// A segment of more than 255 bytes.
    pub too_long: u64,
    /// A segment that is not UTF-8.
    pub not_utf8: u64,
    /// An object `a` beside `a/…`: the directory is shown.
    pub shadowed: u64,
}

impl Hidden {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.empty + self.dots + self.control + self.too_long + self.not_utf8 + self.shadowed
    }
}

/// Why a name is hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    Empty,
    Dots,
    Control,
    TooLong,
    NotUtf8,
    Shadowed,
}

/// The live counters behind [`Stats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    lists: AtomicU64,
    gets: AtomicU64,
    bytes_read: AtomicU64,
    hidden: [AtomicU64; 6],
}

impl Counters {
    pub(crate) fn list(&self) {
        self.lists.fetch_add(1, Relaxed);
    }

    pub(crate) fn get(&self) {
        self.gets.fetch_add(1, Relaxed);
    }

    pub(crate) fn read(&self, bytes: u64) {
        self.bytes_read.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn hide(&self, reason: Reason) {
        self.hidden[reason as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn snapshot(&self) -> Stats {
        let hidden = |reason: Reason| self.hidden[reason as usize].load(Relaxed);
        Stats {
            lists: self.lists.load(Relaxed),
            gets: self.gets.load(Relaxed),
            bytes_read: self.bytes_read.load(Relaxed),
            hidden: Hidden {
                empty: hidden(Reason::Empty),
                dots: hidden(Reason::Dots),
                control: hidden(Reason::Control),
                too_long: hidden(Reason::TooLong),
                not_utf8: hidden(Reason::NotUtf8),
                shadowed: hidden(Reason::Shadowed),
            },
        }
    }
}
