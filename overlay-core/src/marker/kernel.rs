//! The marks of the kernel's overlayfs: 0:0 character devices and `overlay.*` xattrs.
//!
//! Format: `Documentation/filesystems/overlayfs.rst` of Linux, sections "whiteouts and opaque directories",
//! "redirect", "metacopy" and "nesting overlayfs mounts".

use crate::entry::Mark;

/// Where the kernel keeps its marks: `trusted.overlay.` by default, `user.overlay.` with the mount option
/// `userxattr` (the only choice without CAP_SYS_ADMIN in the initial user namespace).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namespace {
    /// `trusted.overlay.`
    Trusted,
    /// `user.overlay.`
    User,
}

impl Namespace {
    /// The prefix of every private key.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Trusted => "trusted.overlay.",
            Self::User => "user.overlay.",
        }
    }

    /// The key of a mark.
    pub fn key(self, mark: Mark) -> String {
        format!("{}{}", self.prefix(), key_of(mark))
    }

    /// The mark that a key on disk is, if it is one that the union reads.
    pub fn mark(self, key: &[u8]) -> Option<Mark> {
        let name = key.strip_prefix(self.prefix().as_bytes())?;
        Mark::ALL.into_iter().find(|mark| key_of(*mark).as_bytes() == name)
    }

    /// The key that users see for a key on disk; `None` if it is private. One level of nesting is taken off:
    /// `trusted.overlay.overlay.x` is seen as `trusted.overlay.x`.
    pub fn unescape(self, key: &[u8]) -> Option<Vec<u8>> {
        let prefix = self.prefix().as_bytes();
        let Some(private) = key.strip_prefix(prefix) else { return Some(key.to_vec()) };
        let nested = private.strip_prefix(NESTED)?;
        Some([prefix, nested].concat())
    }

    /// The key on disk for a key that a user names: the inverse of [`Namespace::unescape`].
    pub fn escape(self, key: &[u8]) -> Vec<u8> {
        let prefix = self.prefix().as_bytes();
        match key.strip_prefix(prefix) {
            Some(rest) => [prefix, NESTED, rest].concat(),
            None => key.to_vec(),
        }
    }
}

/// What stands between the prefix and a key of an overlay within the overlay.
const NESTED: &[u8] = b"overlay.";

/// The last part of a mark's key.
fn key_of(mark: Mark) -> &'static str {
    match mark {
        Mark::Opaque => "opaque",
        Mark::Redirect => "redirect",
        Mark::Metacopy => "metacopy",
        Mark::Whiteout => "whiteout",
    }
}

/// The value of `opaque` on a directory that hides what lies below.
pub const OPAQUE: &[u8] = b"y";

/// The value of `opaque` on a directory that holds xattr whiteouts.
pub const HOLDS_WHITEOUTS: &[u8] = b"x";

/// The opaque mark of fuse-overlayfs, honoured in layers that are declared `oci`.
pub const FUSE_OVERLAYFS_OPAQUE: &str = "user.fuseoverlayfs.opaque";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_keys_are_hidden_and_nested_ones_lose_a_level() {
        let ns = Namespace::Trusted;
        assert_eq!(ns.unescape(b"trusted.overlay.opaque"), None);
        assert_eq!(ns.unescape(b"trusted.overlayfoo").unwrap(), b"trusted.overlayfoo");
        assert_eq!(ns.unescape(b"user.overlay.opaque").unwrap(), b"user.overlay.opaque");
        assert_eq!(ns.unescape(b"trusted.overlay.overlay.opaque").unwrap(), b"trusted.overlay.opaque");
    }

    #[test]
    fn escape_and_unescape_are_inverse_for_every_key_of_a_user() {
        for ns in [Namespace::Trusted, Namespace::User] {
            for key in
                ["user.x", "trusted.overlay.opaque", "user.overlay.overlay.redirect", "security.capability"]
            {
                assert_eq!(ns.unescape(&ns.escape(key.as_bytes())).unwrap(), key.as_bytes(), "{key}");
            }
        }
    }

    #[test]
    fn a_mark_has_its_namespace() {
        assert_eq!(Namespace::User.key(Mark::Opaque), "user.overlay.opaque");
        assert_eq!(Namespace::User.mark(b"user.overlay.metacopy"), Some(Mark::Metacopy));
        assert_eq!(Namespace::User.mark(b"trusted.overlay.metacopy"), None);
        assert_eq!(Namespace::Trusted.mark(b"trusted.overlay.origin"), None);
    }
}
