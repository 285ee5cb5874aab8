//! fuse-overlayfs's options for owners: `uidmapping`, `gidmapping`, `squash_to_*` and `xattr_permissions`. Pure.

use overlay_core::ids::{IdMap, Ids, Owners};
use overlay_core::override_stat::Form;

use super::{Result, set, text};
use crate::failure::Failure;

/// Options with a value.
pub(super) const KEYS: [&str; 5] =
    ["uidmapping", "gidmapping", "squash_to_uid", "squash_to_gid", "xattr_permissions"];

/// Options without a value.
pub(super) const FLAGS: [&str; 1] = ["squash_to_root"];

/// What the options say of owners.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OwnerOptions {
    uid_map: Option<IdMap>,
    gid_map: Option<IdMap>,
    squash_uid: Option<u32>,
    squash_gid: Option<u32>,
    squash_root: bool,
    in_xattrs: Option<Option<Form>>,
    /// The first that was given.
    given: Option<String>,
}

impl OwnerOptions {
    /// Takes one of [`KEYS`].
    pub(super) fn take(&mut self, key: &str, value: &[u8]) -> Result<()> {
        let value = text(key, value)?;
        self.given.get_or_insert_with(|| key.into());
        match key {
            "uidmapping" => set(&mut self.uid_map, key, map(key, &value)?),
            "gidmapping" => set(&mut self.gid_map, key, map(key, &value)?),
            "squash_to_uid" => set(&mut self.squash_uid, key, id(key, &value)?),
            "squash_to_gid" => set(&mut self.squash_gid, key, id(key, &value)?),
            _ => set(&mut self.in_xattrs, key, form(&value)?),
        }
    }

    /// Takes `squash_to_root`.
    pub(super) fn squash_to_root(&mut self, key: &str) {
        self.given.get_or_insert_with(|| key.into());
        self.squash_root = true;
    }

    /// The first option that was given.
    pub(crate) fn given(&self) -> Option<&str> {
        self.given.as_deref()
    }

    /// Under which xattrs owner, mode and type are kept; `None`: in the inodes.
    pub(crate) fn in_xattrs(&self) -> Option<Form> {
        self.in_xattrs.flatten()
    }

    /// How owners are shown and stored: an id of its own goes before `squash_to_root`, and squashing before mapping.
    pub(crate) fn owners(&self) -> Owners {
        let root = self.squash_root.then_some(0);
        Owners {
            uids: Ids { map: self.uid_map.clone(), squash: self.squash_uid.or(root) },
            gids: Ids { map: self.gid_map.clone(), squash: self.squash_gid.or(root) },
        }
    }
}

fn map(key: &str, value: &str) -> Result<IdMap> {
    IdMap::parse(value).map_err(|what| Failure::new(format!("{key}={value} {what}")))
}

/// As fuse-overlayfs takes it: 0 is what is so anyway.
fn form(value: &str) -> Result<Option<Form>> {
    match value {
        "0" => Ok(None),
        "1" => Ok(Some(Form::Security)),
        "2" => Ok(Some(Form::Containers)),
        _ => Err(Failure::new(format!(
            "xattr_permissions={value} is none of 0, 1 (security.fuseoverlayfs.override_stat) and 2 \
             (user.containers.override_stat)"
        ))),
    }
}

fn id(key: &str, value: &str) -> Result<u32> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let id = value.parse().ok().filter(|id| digits && *id != u32::MAX);
    id.ok_or_else(|| Failure::new(format!("{key}={value} is no id: a number from 0 to 4294967294")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compat::parse;

    fn owners(string: &str) -> Owners {
        parse(&[string]).unwrap_or_else(|failure| panic!("{string}: {failure}")).owners.owners()
    }

    #[test]
    fn what_container_engines_say_is_taken() {
        let ids =
            |map: &str, squash| Ids { map: (!map.is_empty()).then(|| IdMap::parse(map).unwrap()), squash };
        for (string, uids, gids) in [
            (
                "lowerdir=/l,upperdir=u,workdir=w,uidmapping=:0:100000:65536,gidmapping=:0:200000:65536,,volatile",
                ids("0:100000:65536", None),
                ids("0:200000:65536", None),
            ),
            ("uidmapping=0:1000:1:1:110000:65536,", ids("0:1000:1:1:110000:65536", None), Ids::default()),
            ("lowerdir=a,squash_to_root", ids("", Some(0)), ids("", Some(0))),
            ("squash_to_uid=1000,squash_to_gid=1001,", ids("", Some(1000)), ids("", Some(1001))),
            ("squash_to_root,squash_to_uid=5", ids("", Some(5)), ids("", Some(0))),
            ("squash_to_gid=5,uidmapping=0:1:2", ids("0:1:2", None), ids("", Some(5))),
            ("lowerdir=a", Ids::default(), Ids::default()),
        ] {
            assert_eq!(owners(string), Owners { uids, gids }, "{string}");
        }
    }

    #[test]
    fn owners_are_kept_in_xattrs_where_that_is_asked_for() {
        for (string, form) in [
            ("lowerdir=a,,xattr_permissions=2", Some(Form::Containers)),
            ("xattr_permissions=1,", Some(Form::Security)),
            ("xattr_permissions=0", None),
            ("squash_to_root", None),
        ] {
            assert_eq!(parse(&[string]).unwrap().owners.in_xattrs(), form, "{string}");
        }
    }

    #[test]
    fn nonsense_is_refused_by_a_sentence() {
        for (string, words) in [
            ("uidmapping=0:1", "uidmapping=0:1 has 2 numbers, and they come in threes"),
            ("gidmapping=0:1:5:3:9:1", "gidmapping=0:1:5:3:9:1 has two ranges that overlap on disk"),
            ("uidmapping", "uidmapping needs a value"),
            ("uidmapping=", "uidmapping= is no list of numbers"),
            ("uidmapping=0:1:2,uidmapping=0:1:2", "uidmapping is given twice"),
            ("squash_to_uid=root", "squash_to_uid=root is no id: a number from 0"),
            ("squash_to_gid=-1", "squash_to_gid=-1 is no id"),
            ("squash_to_gid=4294967295", "squash_to_gid=4294967295 is no id"),
            ("squash_to_gid=1,squash_to_gid=1", "squash_to_gid is given twice"),
            ("squash_to_root=1", "squash_to_root takes no value"),
            (
                "xattr_permissions=3",
                "xattr_permissions=3 is none of 0, 1 (security.fuseoverlayfs.override_stat) and 2",
            ),
            ("xattr_permissions", "xattr_permissions needs a value"),
            ("squash_to_user=1", "did you mean \"squash_to_uid\"?"),
        ] {
            let sentence = parse(&[string]).unwrap_err().to_string();
            assert!(sentence.contains(words), "{string}: {sentence}");
        }
    }
}
