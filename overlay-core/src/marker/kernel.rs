//! The marks of the kernel's overlayfs: 0:0 character devices and `overlay.*` xattrs.
//!
//! Format: `Documentation/filesystems/overlayfs.rst` of Linux, sections "whiteouts and opaque directories",
//! "redirect", "metacopy" and "nesting overlayfs mounts".

use crate::entry::{FileId, Mark};
use crate::error::Result;
use crate::name::Name;

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
        Mark::Origin => "origin",
        Mark::Impure => "impure",
        Mark::Nlink => "nlink",
    }
}

/// The value of `opaque` on a directory that hides what lies below.
pub const OPAQUE: &[u8] = b"y";

/// The value of `opaque` on a directory that holds xattr whiteouts.
pub const HOLDS_WHITEOUTS: &[u8] = b"x";

/// The opaque mark of fuse-overlayfs, honoured in layers that are declared `oci`.
pub const FUSE_OVERLAYFS_OPAQUE: &str = "user.fuseoverlayfs.opaque";

/// The value of `impure`.
pub const IMPURE: &[u8] = b"y";

/// What an `origin` begins with: version, magic number.
const ORIGIN: [u8; 2] = [0, 0xfb];

/// Flags of an origin: numbers are big-endian; the order does not matter.
const BIG_ENDIAN: u8 = 1;
const ANY_ENDIAN: u8 = 2;

/// The bytes of an origin before the handle: [`ORIGIN`], length, flags, type, UUID.
const HEADER: usize = 5 + 16;

/// The value of `origin` for what an object was copied from; empty where that has no identity.
pub fn origin(id: Option<&FileId>) -> Vec<u8> {
    let Some(id) = id else { return Vec::new() };
    let Ok(len) = u8::try_from(HEADER + id.handle.len()) else { return Vec::new() };
    let flags = if cfg!(target_endian = "big") { BIG_ENDIAN } else { 0 };
    [&ORIGIN[..], &[len, flags, id.kind], &id.fs, &id.handle].concat()
}

/// The name in the index of what is copied from something with this origin: its digits.
pub fn index_name(origin: &[u8]) -> Result<Name> {
    let digits: String = origin.iter().map(|byte| format!("{byte:02x}")).collect();
    Name::new(digits)
}

/// What a value of `origin` says. `None` if it says nothing, or nothing that this machine understands.
pub fn parse_origin(value: &[u8]) -> Option<FileId> {
    let (header, handle) = value.split_at_checked(HEADER)?;
    let foreign = header[3] & BIG_ENDIAN != 0 && cfg!(target_endian = "little")
        || header[3] & BIG_ENDIAN == 0 && cfg!(target_endian = "big");
    let known = header[..2] == ORIGIN && usize::from(header[2]) == value.len();
    if !known || foreign && header[3] & ANY_ENDIAN == 0 {
        return None;
    }
    Some(FileId { fs: header[5..].try_into().ok()?, kind: header[4], handle: handle.to_vec() })
}

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
        assert_eq!(Namespace::Trusted.mark(b"trusted.overlay.uuid"), None);
    }

    #[test]
    fn an_origin_is_what_the_kernel_writes() {
        // Seen on a file that the kernel's overlayfs (6.18) copied up, on ext4 without a UUID.
        let value = b"\x00\xfb\x1d\x00\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x50\xe0\x98\x00\x78\x5f\xfb\x89";
        let id = parse_origin(value).unwrap();
        assert_eq!((id.fs, id.kind, &id.handle[..4]), ([0; 16], 1, &b"\x50\xe0\x98\x00"[..]));
        assert_eq!(origin(Some(&id)), value);
        assert_eq!(origin(None), b"");
        for bad in [&b""[..], b"x", &value[..20], &value[..28], &[&b"\x01"[..], &value[1..]].concat()] {
            assert_eq!(parse_origin(bad), None);
        }
    }
}
