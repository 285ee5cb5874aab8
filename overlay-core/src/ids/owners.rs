//! Whom an object is shown to belong to, and what is stored when it is given to somebody. Pure.

use super::map::{IdMap, OVERFLOW};
use crate::attr::{Attr, SetAttr};
use crate::error::{Error, Kind, Result};

/// How ids of one sort, users or groups, are shown and stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ids {
    /// Ids on disk and as shown; `None`: they are the same.
    pub map: Option<IdMap>,
    /// Every object is shown with this id, whatever is on disk, and what is set is not stored.
    pub squash: Option<u32>,
}

/// How owners and groups are shown and stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owners {
    /// Users.
    pub uids: Ids,
    /// Groups.
    pub gids: Ids,
}

impl Ids {
    /// What stands for an id on disk; [`OVERFLOW`] where it has no mapping.
    pub fn shown(&self, disk: u32) -> u32 {
        self.map.as_ref().map_or(disk, |map| map.shown(disk).unwrap_or(OVERFLOW))
    }

    /// The id on disk for one that is shown.
    ///
    /// # Errors
    /// `Invalid` without a mapping.
    pub fn stored(&self, shown: u32) -> Result<u32> {
        let stored = self.map.as_ref().map_or(Some(shown), |map| map.stored(shown));
        stored.ok_or_else(|| {
            let sentence = format!("the id {shown} has no mapping in uidmapping or gidmapping");
            Error::new(Kind::Invalid, "chown").because(sentence)
        })
    }

    /// The id that an object is shown to have.
    fn shown_owner(&self, disk: u32) -> u32 {
        self.squash.unwrap_or_else(|| self.shown(disk))
    }

    /// What to store for an owner; nothing where owners are squashed.
    fn stored_owner(&self, shown: Option<u32>) -> Result<Option<u32>> {
        match shown {
            Some(shown) if self.squash.is_none() => self.stored(shown).map(Some),
            _ => Ok(None),
        }
    }

    /// What an object is shown to have that this id makes, if storing just that would give it this id.
    fn creates_as(&self, disk: u32) -> Option<u32> {
        let is_mapped = self.map.as_ref().is_none_or(|map| map.shown(disk).is_some());
        (is_mapped || self.squash.is_some()).then(|| self.shown_owner(disk))
    }
}

impl Owners {
    /// Whether everything is shown as it is on disk.
    pub fn is_identity(&self) -> bool {
        *self == Self::default()
    }

    /// Attributes as they are shown.
    pub fn show(&self, attr: Attr) -> Attr {
        Attr { uid: self.uids.shown_owner(attr.uid), gid: self.gids.shown_owner(attr.gid), ..attr }
    }

    /// A change as it is stored. One of owners that are squashed is left out: it is accepted and shows nowhere.
    ///
    /// # Errors
    /// `Invalid` for an id without a mapping.
    pub fn store(&self, change: &SetAttr) -> Result<SetAttr> {
        let uid = self.uids.stored_owner(change.uid)?;
        let gid = self.gids.stored_owner(change.gid)?;
        Ok(SetAttr { uid, gid, ..change.clone() })
    }

    /// Whom new objects are shown to belong to that a process with this user and group makes: what
    /// [`OverlayOptions::creates_as`](crate::overlay::OverlayOptions::creates_as) is to be. `None` where the process's
    /// own ids have no mapping: nobody can ask for an object of theirs.
    pub fn creates_as(&self, (uid, gid): (u32, u32)) -> Option<(u32, u32)> {
        Some((self.uids.creates_as(uid)?, self.gids.creates_as(gid)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attr::{Kind as ObjectKind, Time};

    fn ids(map: &str, squash: Option<u32>) -> Ids {
        Ids { map: (!map.is_empty()).then(|| IdMap::parse(map).unwrap()), squash }
    }

    fn owners(map: &str, squash: (Option<u32>, Option<u32>)) -> Owners {
        Owners { uids: ids(map, squash.0), gids: ids(map, squash.1) }
    }

    fn attr(uid: u32, gid: u32) -> Attr {
        Attr { uid, gid, ..Attr::new(ObjectKind::File, 1, 0o644, 3, Time::default()) }
    }

    #[test]
    fn each_combination_shows_and_stores_as_the_options_say() {
        let none = (None, None);
        for (rules, disk, shown) in [
            (owners("", none), (5, 6), (5, 6)),
            (owners("0:100:10", none), (5, 6), (105, 106)),
            (owners("0:100:10", none), (5, 60), (105, OVERFLOW)),
            (owners("", (Some(7), None)), (5, 6), (7, 6)),
            (owners("0:100:10", (None, Some(7))), (5, 6), (105, 7)),
            (owners("0:100:10", (Some(0), Some(0))), (50, 60), (0, 0)),
        ] {
            assert_eq!(rules.show(attr(disk.0, disk.1)), attr(shown.0, shown.1));
        }
    }

    #[test]
    fn a_change_of_owner_is_inverted_dropped_or_refused() {
        let set = |uid, gid| SetAttr { uid, gid, mode: Some(0o600), ..SetAttr::default() };
        let mapped = owners("0:100:10", (None, None));
        for (given, stored) in [
            ((Some(105), None), (Some(5), None)),
            ((None, Some(109)), (None, Some(9))),
            ((None, None), (None, None)),
        ] {
            assert_eq!(mapped.store(&set(given.0, given.1)).unwrap(), set(stored.0, stored.1));
        }
        for (uid, gid) in [(Some(5), None), (None, Some(110)), (Some(OVERFLOW), None)] {
            assert_eq!(mapped.store(&set(uid, gid)).unwrap_err().kind(), Kind::Invalid);
        }
        let squashed = owners("0:100:10", (Some(0), Some(0)));
        assert_eq!(squashed.store(&set(Some(5), Some(6))).unwrap(), set(None, None));
        let half = owners("", (Some(0), None));
        assert_eq!(half.store(&set(Some(5), Some(6))).unwrap(), set(None, Some(6)));
    }

    #[test]
    fn objects_are_made_in_place_only_where_the_process_is_shown_as_it_is_asked_for() {
        for (rules, process, expected) in [
            (owners("", (None, None)), (0, 0), Some((0, 0))),
            (owners("0:100:10", (None, None)), (0, 5), Some((100, 105))),
            (owners("0:100:10", (None, None)), (0, 50), None),
            (owners("0:100:10", (Some(7), None)), (50, 0), Some((7, 100))),
            (owners("0:100:10", (Some(7), Some(8))), (50, 60), Some((7, 8))),
        ] {
            assert_eq!(rules.creates_as(process), expected, "{rules:?}");
        }
    }
}
