//! The ids within POSIX ACLs. Pure.
//!
//! Format of `system.posix_acl_access` and `system.posix_acl_default`: `include/uapi/linux/posix_acl_xattr.h`, version 2:
//! a 32-bit version, then entries of tag (16 bits), permissions (16) and id (32), all little-endian.

use super::owners::Owners;
use crate::error::Result;
use crate::merge::inherit::{ACCESS_ACL, DEFAULT_ACL};

const VERSION: [u8; 4] = 2u32.to_le_bytes();
/// Entries of a named user and of a named group; in all others the id means nothing.
const USER: u16 = 0x02;
const GROUP: u16 = 0x08;

/// Whether the xattr is an ACL.
pub(super) fn is_acl(key: &[u8]) -> bool {
    key == ACCESS_ACL || key == DEFAULT_ACL
}

/// An ACL with its ids as they are shown; what has no mapping names the overflow id.
pub(super) fn show(owners: &Owners, acl: Vec<u8>) -> Vec<u8> {
    let shown = translate(&acl, |tag, id| {
        Ok(if tag == USER { owners.uids.shown(id) } else { owners.gids.shown(id) })
    });
    // Showing never fails.
    shown.unwrap_or(acl)
}

/// An ACL with its ids as they are stored.
///
/// # Errors
/// `Invalid` if it names an id without a mapping.
pub(super) fn store(owners: &Owners, acl: &[u8]) -> Result<Vec<u8>> {
    translate(acl, |tag, id| if tag == USER { owners.uids.stored(id) } else { owners.gids.stored(id) })
}

/// What is no ACL stays as it is: to say so is the file system's affair.
fn translate(acl: &[u8], id_of: impl Fn(u16, u32) -> Result<u32>) -> Result<Vec<u8>> {
    let mut translated = acl.to_vec();
    let Some((&mut version, entries)) = translated.split_first_chunk_mut::<4>() else {
        return Ok(translated);
    };
    let (rows, rest) = entries.as_chunks_mut::<8>();
    if version != VERSION || !rest.is_empty() {
        return Ok(acl.to_vec());
    }
    for row in rows {
        let [t0, t1, _, _, id @ ..] = row;
        let tag = u16::from_le_bytes([*t0, *t1]);
        if matches!(tag, USER | GROUP) {
            *id = id_of(tag, u32::from_le_bytes(*id))?.to_le_bytes();
        }
    }
    Ok(translated)
}

#[cfg(test)]
mod tests {
    use super::super::map::{IdMap, OVERFLOW};
    use super::super::owners::Ids;
    use super::*;

    fn acl(rows: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut acl = VERSION.to_vec();
        for (tag, perm, id) in rows {
            acl.extend([tag.to_le_bytes(), perm.to_le_bytes()].concat());
            acl.extend(id.to_le_bytes());
        }
        acl
    }

    fn owners() -> Owners {
        let ids = |map| Ids { map: Some(IdMap::parse(map).unwrap()), squash: None };
        Owners { uids: ids("0:100:10"), gids: ids("0:200:10") }
    }

    #[test]
    fn named_users_and_groups_are_translated_and_nothing_else() {
        let all = |user, group| {
            let none = u32::MAX;
            acl(&[(1, 7, none), (2, 6, user), (4, 5, none), (8, 4, group), (16, 7, 5), (32, 0, none)])
        };
        assert_eq!(show(&owners(), all(3, 4)), all(103, 204));
        assert_eq!(store(&owners(), &all(103, 204)).unwrap(), all(3, 4));
        assert_eq!(show(&owners(), all(30, 40)), all(OVERFLOW, OVERFLOW));
        assert!(store(&owners(), &all(3, 204)).is_err() && store(&owners(), &all(103, 104)).is_err());
    }

    #[test]
    fn what_is_no_acl_is_left_as_it_is() {
        let whole = acl(&[(2, 6, 3)]);
        for bad in [&b""[..], b"\x02", &whole[..11], &[&[1], &whole[1..]].concat()] {
            assert_eq!(show(&owners(), bad.to_vec()), bad);
            assert_eq!(store(&owners(), bad).unwrap(), bad);
        }
        assert!(is_acl(b"system.posix_acl_access") && is_acl(b"system.posix_acl_default"));
        assert!(!is_acl(b"system.posix_acl_richacl") && !is_acl(b"user.x"));
    }
}
