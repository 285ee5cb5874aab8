//! A mapping of ids: ranges on disk and the ranges that are shown for them. Pure.
//!
//! Written as fuse-overlayfs and containers/storage write it (`fuse-overlayfs(1)`, `uidmapping`): triples
//! `DISK:SHOWN:COUNT` joined by colons, with or without a colon before the first.

/// What is shown for an id that has no mapping: the kernel's `overflowuid` and `overflowgid`.
pub const OVERFLOW: u32 = 65534;

/// A mapping between the ids on disk and those that are shown: injective both ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdMap {
    ranges: Vec<Range>,
}

/// `count` ids from `disk` on are shown as those from `shown` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    disk: u32,
    shown: u32,
    count: u32,
}

impl IdMap {
    /// Reads the triples `DISK:SHOWN:COUNT[:DISK:SHOWN:COUNT…]`; a leading colon is accepted.
    ///
    /// # Errors
    /// A sentence without its subject ("is no list of…"): numbers that do not come in threes, are none, or go past the
    /// last id (4294967294), an empty range, or ranges of which two share an id on either side.
    pub fn parse(text: &str) -> Result<Self, String> {
        let numbers = text.strip_prefix(':').unwrap_or(text).split(':');
        let numbers: Option<Vec<u32>> = numbers.map(number).collect();
        let numbers =
            numbers.ok_or("is no list of numbers DISK:SHOWN:COUNT joined by colons, as 0:100000:65536")?;
        let (triples, rest) = numbers.as_chunks::<3>();
        if !rest.is_empty() {
            return Err(format!("has {} numbers, and they come in threes DISK:SHOWN:COUNT", numbers.len()));
        }
        let mut map = Self { ranges: Vec::with_capacity(triples.len()) };
        for &[disk, shown, count] in triples {
            map.add(Range { disk, shown, count })?;
        }
        Ok(map)
    }

    fn add(&mut self, new: Range) -> Result<(), String> {
        let Range { disk, shown, count } = new;
        if count == 0 {
            return Err(format!("has an empty range {disk}:{shown}:0"));
        }
        // The very last number is no id: to chown(2) it means "leave it".
        if disk.checked_add(count).is_none() || shown.checked_add(count).is_none() {
            return Err(format!("has a range {disk}:{shown}:{count} that goes past the last id, 4294967294"));
        }
        for old in &self.ranges {
            let clash = [("on disk", old.disk, disk), ("as shown", old.shown, shown)];
            if let Some((side, ..)) =
                clash.into_iter().find(|(_, a, b)| overlap((*a, old.count), (*b, count)))
            {
                return Err(format!(
                    "has two ranges that overlap {side}: {}:{}:{} and {disk}:{shown}:{count}",
                    old.disk, old.shown, old.count
                ));
            }
        }
        self.ranges.push(new);
        Ok(())
    }

    /// What is shown for an id on disk; `None` without a mapping.
    pub fn shown(&self, disk: u32) -> Option<u32> {
        self.ranges.iter().find_map(|range| moved(disk, range.disk, range.shown, range.count))
    }

    /// The id on disk that is shown as `shown`; `None` without a mapping.
    pub fn stored(&self, shown: u32) -> Option<u32> {
        self.ranges.iter().find_map(|range| moved(shown, range.shown, range.disk, range.count))
    }
}

/// A number as it is written in a mapping: digits and nothing else.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// The id at the same place of the range at `to`, if it is in the one at `from`.
fn moved(id: u32, from: u32, to: u32, count: u32) -> Option<u32> {
    id.checked_sub(from).filter(|offset| *offset < count).map(|offset| to + offset)
}

/// Whether two ranges, each a start and a count, share a number. Their ends are known to fit.
fn overlap((a, a_count): (u32, u32), (b, b_count): (u32, u32)) -> bool {
    a < b + b_count && b < a + a_count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(text: &str) -> IdMap {
        IdMap::parse(text).unwrap_or_else(|sentence| panic!("{text} {sentence}"))
    }

    #[test]
    fn ranges_move_ids_both_ways_and_their_ends_are_exact() {
        for text in ["0:1000:1:1:110000:65536", ":0:1000:1:1:110000:65536"] {
            let map = map(text);
            for (disk, shown) in [(0, 1000), (1, 110_000), (2, 110_001), (65_536, 175_535)] {
                assert_eq!((map.shown(disk), map.stored(shown)), (Some(shown), Some(disk)), "{disk}");
            }
            for disk in [65_537, 110_000, u32::MAX] {
                assert_eq!(map.shown(disk), None, "{disk}");
            }
            for shown in [0, 999, 1001, 109_999, 175_536, u32::MAX] {
                assert_eq!(map.stored(shown), None, "{shown}");
            }
        }
    }

    #[test]
    fn all_ids_but_the_one_that_is_none_can_be_mapped() {
        let all = map("0:0:4294967295");
        for id in [0, 1, 65_534, u32::MAX - 1] {
            assert_eq!((all.shown(id), all.stored(id)), (Some(id), Some(id)));
        }
        assert_eq!((all.shown(u32::MAX), all.stored(u32::MAX)), (None, None));
    }

    /// Every mapping of two ranges within eight ids, against what the words say.
    #[test]
    fn a_mapping_is_taken_if_and_only_if_it_is_injective_and_then_it_inverts() {
        let starts = || (0..5u32).flat_map(|disk| (0..5u32).map(move |shown| (disk, shown)));
        for ((d1, s1), (d2, s2)) in starts().flat_map(|one| starts().map(move |two| (one, two))) {
            for (c1, c2) in [(1, 1), (1, 3), (3, 1), (2, 2), (3, 3)] {
                let pairs = |d: u32, s: u32, c: u32| (0..c).map(move |at| (d + at, s + at));
                let all: Vec<_> = pairs(d1, s1, c1).chain(pairs(d2, s2, c2)).collect();
                let distinct = |side: fn(&(u32, u32)) -> u32| {
                    let mut ids: Vec<_> = all.iter().map(side).collect();
                    ids.sort_unstable();
                    ids.windows(2).all(|two| two[0] != two[1])
                };
                let text = format!("{d1}:{s1}:{c1}:{d2}:{s2}:{c2}");
                let parsed = IdMap::parse(&text);
                assert_eq!(parsed.is_ok(), distinct(|pair| pair.0) && distinct(|pair| pair.1), "{text}");
                let Ok(map) = parsed else { continue };
                for id in 0..9 {
                    let shown = all.iter().find(|pair| pair.0 == id).map(|pair| pair.1);
                    let disk = all.iter().find(|pair| pair.1 == id).map(|pair| pair.0);
                    assert_eq!((map.shown(id), map.stored(id)), (shown, disk), "{text} {id}");
                }
            }
        }
    }

    #[test]
    fn nonsense_is_refused_by_a_sentence() {
        for (text, words) in [
            ("", "is no list of numbers"),
            (":", "is no list of numbers"),
            ("::0:1:2", "is no list of numbers"),
            ("0:1:2:", "is no list of numbers"),
            ("0:1:x", "is no list of numbers"),
            ("0:1:+2", "is no list of numbers"),
            ("0:-1:2", "is no list of numbers"),
            ("0:1:4294967296", "is no list of numbers"),
            ("0:1", "has 2 numbers, and they come in threes"),
            ("0:1:2:3", "has 4 numbers"),
            ("0:1:0", "has an empty range 0:1:0"),
            ("1:0:4294967295", "goes past the last id"),
            ("0:1:4294967295", "goes past the last id"),
            ("0:100:10:9:200:10", "overlap on disk: 0:100:10 and 9:200:10"),
            ("0:100:10:10:109:10", "overlap as shown: 0:100:10 and 10:109:10"),
        ] {
            let sentence = IdMap::parse(text).unwrap_err();
            assert!(sentence.contains(words), "{text}: {sentence}");
        }
    }
}
