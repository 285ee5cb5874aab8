//! How what a layer says looks on disk to the kernel's overlayfs. Pure.
//!
//! Format: `Documentation/filesystems/overlayfs.rst` of Linux, "whiteouts and opaque directories".

use overlay_core::attr::{Attr, Kind, Time};
use overlay_core::entry::{Entry, Mark};
use overlay_core::marker::kernel::{Namespace, OPAQUE};

/// The number of the root, as FUSE wants it.
pub(super) const ROOT: u64 = 1;

/// Numbers from here on are given to objects whose own number is another's. Layers number by 63 bits.
pub(super) const SPARE: u64 = 1 << 63;

/// The number of all whiteouts: like the kernel's own they are one inode with many names.
pub(super) const WHITEOUT: u64 = SPARE | 2;

/// The first number that nobody has a claim on.
pub(super) const SPARE_FIRST: u64 = SPARE | 3;

/// The number under which an object that its layer counts as `ino` is served, unless that is another's.
pub(super) fn number(ino: u64) -> u64 {
    if ino <= ROOT { SPARE | ino } else { ino }
}

/// A whiteout's attributes: a character device 0:0 that nobody may use.
pub(super) fn whiteout() -> Attr {
    Attr::new(Kind::Char, WHITEOUT, 0, 0, Time::default())
}

/// The marks of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    opaque: bool,
    metacopy: bool,
    redirect: Option<Box<[u8]>>,
}

impl Marks {
    pub(super) fn of(entry: &Entry) -> Self {
        Self {
            opaque: entry.opaque && entry.attr.is_dir(),
            metacopy: entry.metacopy,
            redirect: entry.redirect.clone().map(Into::into),
        }
    }

    /// The value of a mark, as an xattr.
    pub(super) fn value(&self, mark: Mark) -> Option<Vec<u8>> {
        match mark {
            Mark::Opaque => self.opaque.then(|| OPAQUE.to_vec()),
            Mark::Metacopy => self.metacopy.then(Vec::new),
            Mark::Redirect => self.redirect.as_deref().map(<[u8]>::to_vec),
            _ => None,
        }
    }

    /// The keys of the marks that are set.
    pub(super) fn keys(&self, namespace: Namespace) -> impl Iterator<Item = Vec<u8>> {
        let set = [Mark::Opaque, Mark::Metacopy, Mark::Redirect].into_iter();
        set.filter(|mark| self.value(*mark).is_some()).map(move |mark| namespace.key(mark).into_bytes())
    }
}

/// What the key of an xattr on disk means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// A mark of the union.
    Mark(Mark),
    /// An xattr of the layer, under this key.
    Plain(Vec<u8>),
    /// Something of the union's that an image does not have.
    Private,
}

/// Tells what a key on disk means.
pub(super) fn key(namespace: Namespace, on_disk: &[u8]) -> Key {
    match (namespace.mark(on_disk), namespace.unescape(on_disk)) {
        (Some(mark), _) => Key::Mark(mark),
        (None, Some(plain)) => Key::Plain(plain),
        (None, None) => Key::Private,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NS: Namespace = Namespace::Trusted;

    fn entry(kind: Kind) -> Entry {
        let attr = Attr::new(kind, 7, 0o755, 0, Time::default());
        Entry {
            opaque: true,
            redirect: Some(b"/x".to_vec()),
            metacopy: kind == Kind::File,
            ..Entry::plain(attr)
        }
    }

    #[test]
    fn marks_are_xattrs_of_the_unions_namespace() {
        let dir = Marks::of(&entry(Kind::Dir));
        let keys: Vec<_> = dir.keys(NS).collect();
        assert_eq!(keys, [b"trusted.overlay.opaque".to_vec(), b"trusted.overlay.redirect".to_vec()]);
        assert_eq!(dir.value(Mark::Opaque).unwrap(), b"y");
        assert_eq!(dir.value(Mark::Redirect).unwrap(), b"/x");
        let file = Marks::of(&entry(Kind::File));
        assert_eq!(file.value(Mark::Opaque), None, "only a directory hides what is below");
        assert_eq!(file.value(Mark::Metacopy).unwrap(), b"");
        assert_eq!(Marks::default().keys(Namespace::User).count(), 0);
    }

    #[test]
    fn keys_lose_one_level_of_nesting_and_private_ones_are_none() {
        assert_eq!(key(NS, b"trusted.overlay.opaque"), Key::Mark(Mark::Opaque));
        assert_eq!(key(NS, b"trusted.overlay.nowhere"), Key::Private);
        assert_eq!(key(NS, b"trusted.overlay.overlay.x"), Key::Plain(b"trusted.overlay.x".to_vec()));
        assert_eq!(key(NS, b"user.overlay.opaque"), Key::Plain(b"user.overlay.opaque".to_vec()));
    }

    #[test]
    fn the_two_numbers_that_fuse_reserves_are_moved() {
        assert_eq!([0, 1, 2, 77].map(number), [SPARE, SPARE | 1, 2, 77]);
        assert_eq!(whiteout().rdev, 0);
    }
}
