//! What a new object gets from its creator and from its directory: owner, group, mode and ACLs.
//!
//! The rules of Linux: `inode_init_owner` and `mode_strip_sgid` for set-group-ID directories, `posix_acl_create`
//! for default ACLs. The xattr format is that of `linux/posix_acl_xattr.h`: a little-endian version of 2, then
//! 8 bytes an entry (tag, permissions, id).

use crate::attr::{Attr, Kind};

/// Who asks for a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// File-system user ID.
    pub uid: u32,
    /// File-system group ID. Supplementary groups are not known here.
    pub gid: u32,
    /// Bits to take from the mode, unless the directory has a default ACL.
    pub umask: u32,
}

/// What the new object has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inherited {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
    /// The value of `system.posix_acl_access`, if there is one.
    pub access_acl: Option<Vec<u8>>,
    /// The value of `system.posix_acl_default`, if there is one.
    pub default_acl: Option<Vec<u8>>,
}

/// The xattr of an object's own ACL.
pub const ACCESS_ACL: &[u8] = b"system.posix_acl_access";
/// The xattr of the ACL that a directory's children inherit.
pub const DEFAULT_ACL: &[u8] = b"system.posix_acl_default";

const SET_GROUP_ID: u32 = 0o2000;
const GROUP_EXECUTE: u32 = 0o010;

/// What an object of `kind` that `caller` makes with `mode` in the directory `parent` has. A malformed default ACL
/// counts as none.
pub fn inherit(
    parent: &Attr,
    default_acl: Option<&[u8]>,
    caller: Caller,
    kind: Kind,
    mode: u32,
) -> Inherited {
    let (gid, mode) = group(parent, caller, kind, mode);
    // A symbolic link has no permissions and no ACL; the kernel shows 0777.
    if kind == Kind::Symlink {
        return Inherited { uid: caller.uid, gid, mode: 0o777, access_acl: None, default_acl: None };
    }
    let Some(entries) = default_acl.and_then(parse) else {
        let mode = mode & !caller.umask;
        return Inherited { uid: caller.uid, gid, mode, access_acl: None, default_acl: None };
    };
    let (mode, masked) = mask(entries, mode);
    let extended = masked.iter().any(|entry| !matches!(entry.tag, USER_OBJ | GROUP_OBJ | OTHER));
    let default_acl = default_acl.filter(|_| kind == Kind::Dir).map(<[u8]>::to_vec);
    Inherited { uid: caller.uid, gid, mode, access_acl: extended.then(|| print(&masked)), default_acl }
}

fn group(parent: &Attr, caller: Caller, kind: Kind, mode: u32) -> (u32, u32) {
    if parent.mode & SET_GROUP_ID == 0 {
        return (caller.gid, mode);
    }
    if kind == Kind::Dir {
        return (parent.gid, mode | SET_GROUP_ID);
    }
    let executable = SET_GROUP_ID | GROUP_EXECUTE;
    let stranger = caller.uid != 0 && caller.gid != parent.gid;
    let strip = mode & executable == executable && stranger;
    (parent.gid, if strip { mode & !SET_GROUP_ID } else { mode })
}

/// The mode of a file after somebody without privilege wrote to it; `None` if it stays. Set-group-ID without group
/// execution means mandatory locking, not privilege.
pub fn without_privilege(mode: u32) -> Option<u32> {
    let mut stripped = mode & !0o4000;
    if mode & GROUP_EXECUTE != 0 {
        stripped &= !SET_GROUP_ID;
    }
    (stripped != mode).then_some(stripped)
}

#[derive(Clone, Copy)]
struct AclEntry {
    tag: u16,
    perm: u16,
    id: u32,
}

const USER_OBJ: u16 = 0x01;
const GROUP_OBJ: u16 = 0x04;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;
const VERSION: u32 = 2;

fn parse(acl: &[u8]) -> Option<Vec<AclEntry>> {
    let (version, entries) = acl.split_first_chunk::<4>()?;
    let (rows, rest) = entries.as_chunks::<8>();
    if u32::from_le_bytes(*version) != VERSION || rows.is_empty() || !rest.is_empty() {
        return None;
    }
    let entry = |row: &[u8; 8]| {
        let [t0, t1, p0, p1, i0, i1, i2, i3] = *row;
        AclEntry {
            tag: u16::from_le_bytes([t0, t1]),
            perm: u16::from_le_bytes([p0, p1]),
            id: u32::from_le_bytes([i0, i1, i2, i3]),
        }
    };
    Some(rows.iter().map(entry).collect())
}

fn print(entries: &[AclEntry]) -> Vec<u8> {
    let mut acl = VERSION.to_le_bytes().to_vec();
    for entry in entries {
        acl.extend_from_slice(&entry.tag.to_le_bytes());
        acl.extend_from_slice(&entry.perm.to_le_bytes());
        acl.extend_from_slice(&entry.id.to_le_bytes());
    }
    acl
}

/// Narrows the entries to the mode asked for, and the mode to the entries (`posix_acl_create_masq`).
fn mask(mut entries: Vec<AclEntry>, mode: u32) -> (u32, Vec<AclEntry>) {
    let has_mask = entries.iter().any(|entry| entry.tag == MASK);
    let group_tag = if has_mask { MASK } else { GROUP_OBJ };
    let mut result = mode;
    for entry in &mut entries {
        let shift = match entry.tag {
            USER_OBJ => 6,
            OTHER => 0,
            tag if tag == group_tag => 3,
            _ => continue,
        };
        entry.perm &= ((mode >> shift) & 7) as u16;
        result = (result & !(7 << shift)) | (u32::from(entry.perm) << shift);
    }
    (result, entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attr::Time;

    fn dir(mode: u32, gid: u32) -> Attr {
        Attr { gid, ..Attr::new(Kind::Dir, 1, mode, 0, Time::default()) }
    }

    const USER: Caller = Caller { uid: 1000, gid: 1000, umask: 0o022 };

    fn acl(rows: &[(u16, u16, u32)]) -> Vec<u8> {
        print(
            &rows
                .iter()
                .map(|(tag, perm, id)| AclEntry { tag: *tag, perm: *perm, id: *id })
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn the_umask_applies_and_the_creator_owns() {
        let new = inherit(&dir(0o755, 5), None, USER, Kind::File, 0o666);
        assert_eq!((new.uid, new.gid, new.mode), (1000, 1000, 0o644));
        let strict = Caller { umask: 0o077, ..USER };
        assert_eq!(inherit(&dir(0o755, 5), None, strict, Kind::Dir, 0o777).mode, 0o700);
        assert_eq!(inherit(&dir(0o755, 5), None, strict, Kind::Fifo, 0o600).mode, 0o600);
    }

    #[test]
    fn a_set_group_id_directory_gives_its_group_and_to_directories_the_bit() {
        let parent = dir(0o2775, 5);
        let new = inherit(&parent, None, USER, Kind::Dir, 0o777);
        assert_eq!((new.gid, new.mode), (5, 0o2755));
        let new = inherit(&parent, None, USER, Kind::File, 0o666);
        assert_eq!((new.gid, new.mode), (5, 0o644));
    }

    #[test]
    fn strangers_to_the_group_lose_set_group_id_on_executables() {
        let parent = dir(0o2777, 5);
        let mode = |caller| inherit(&parent, None, Caller { umask: 0, ..caller }, Kind::File, 0o2755).mode;
        assert_eq!(mode(USER), 0o755);
        assert_eq!(mode(Caller { gid: 5, ..USER }), 0o2755);
        assert_eq!(mode(Caller::default()), 0o2755, "root");
    }

    #[test]
    fn a_default_acl_replaces_the_umask_and_is_masked_by_the_mode() {
        // user::rwx user:7:rwx group::r-x mask::rwx other::---
        let default = acl(&[(1, 7, !0), (2, 7, 7), (4, 5, !0), (16, 7, !0), (32, 0, !0)]);
        let new = inherit(&dir(0o755, 5), Some(&default), USER, Kind::File, 0o666);
        assert_eq!(new.mode, 0o660);
        assert_eq!(new.access_acl, Some(acl(&[(1, 6, !0), (2, 7, 7), (4, 5, !0), (16, 6, !0), (32, 0, !0)])));
        assert_eq!(new.default_acl, None);
        let new = inherit(&dir(0o755, 5), Some(&default), USER, Kind::Dir, 0o777);
        assert_eq!((new.mode, new.default_acl), (0o770, Some(default)));
    }

    #[test]
    fn a_minimal_default_acl_only_changes_the_mode() {
        let default = acl(&[(1, 7, !0), (4, 5, !0), (32, 0, !0)]);
        let new = inherit(&dir(0o755, 5), Some(&default), USER, Kind::File, 0o666);
        assert_eq!((new.mode, new.access_acl), (0o640, None));
    }

    #[test]
    fn a_malformed_default_acl_counts_as_none() {
        for bad in [&b""[..], &[2, 0, 0, 0], &[1, 0, 0, 0, 1, 0, 7, 0, 0, 0, 0, 0], &[2, 0, 0, 0, 1]] {
            assert_eq!(inherit(&dir(0o755, 5), Some(bad), USER, Kind::File, 0o666).mode, 0o644);
        }
    }

    #[test]
    fn privilege_goes_with_a_strangers_write() {
        for (before, after) in [(0o4755, 0o755), (0o6755, 0o755), (0o2755, 0o755), (0o6777, 0o777)] {
            assert_eq!(without_privilege(before), Some(after));
        }
        for mode in [0o755, 0o2644, 0o1777] {
            assert_eq!(without_privilege(mode), None);
        }
    }
}
