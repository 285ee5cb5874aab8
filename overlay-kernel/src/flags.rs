//! Flags of a mount, and the words by which `mount(8)` knows them. Pure.

use rustix::mount::{MountAttrFlags, MountFlags};

/// Flags of a mount, each off unless set.
///
/// With neither `no_atime` nor `strict_atime` access times are kept as `relatime` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// Nothing can be changed.
    pub read_only: bool,
    /// Set-user-ID and file capabilities have no effect.
    pub no_suid: bool,
    /// Device files cannot be opened.
    pub no_dev: bool,
    /// Nothing can be executed.
    pub no_exec: bool,
    /// Access times are not updated.
    pub no_atime: bool,
    /// Access times are updated at every access.
    pub strict_atime: bool,
    /// Access times of directories are not updated.
    pub no_dir_atime: bool,
    /// Symbolic links are not followed (Linux 5.10).
    pub no_symfollow: bool,
    /// Every write waits for the disk.
    pub sync: bool,
    /// Every change of a directory waits for the disk.
    pub dir_sync: bool,
    /// Times are written late.
    pub lazy_time: bool,
}

impl Flags {
    /// Sets what a generic word of `mount(8)` says, as `ro`, `nodev` or `relatime`; a later word wins over an earlier
    /// one. `false` if the word is none of them.
    pub fn set(&mut self, word: &str) -> bool {
        match word {
            "ro" | "rw" => self.read_only = word == "ro",
            "nosuid" | "suid" => self.no_suid = word == "nosuid",
            "nodev" | "dev" => self.no_dev = word == "nodev",
            "noexec" | "exec" => self.no_exec = word == "noexec",
            "nodiratime" | "diratime" => self.no_dir_atime = word == "nodiratime",
            "nosymfollow" | "symfollow" => self.no_symfollow = word == "nosymfollow",
            "sync" | "async" => self.sync = word == "sync",
            "dirsync" => self.dir_sync = true,
            "lazytime" | "nolazytime" => self.lazy_time = word == "lazytime",
            _ => return self.set_atime(word),
        }
        true
    }

    fn set_atime(&mut self, word: &str) -> bool {
        let (none, strict) = match word {
            "noatime" => (true, false),
            "strictatime" => (false, true),
            "relatime" => (false, false),
            "atime" => (false, self.strict_atime),
            "nostrictatime" | "norelatime" => (self.no_atime, false),
            _ => return false,
        };
        (self.no_atime, self.strict_atime) = (none, strict);
        true
    }

    /// What `fsmount` is told.
    pub(crate) fn attributes(self) -> MountAttrFlags {
        [
            (self.read_only, MountAttrFlags::MOUNT_ATTR_RDONLY),
            (self.no_suid, MountAttrFlags::MOUNT_ATTR_NOSUID),
            (self.no_dev, MountAttrFlags::MOUNT_ATTR_NODEV),
            (self.no_exec, MountAttrFlags::MOUNT_ATTR_NOEXEC),
            (self.no_atime, MountAttrFlags::MOUNT_ATTR_NOATIME),
            (self.strict_atime, MountAttrFlags::MOUNT_ATTR_STRICTATIME),
            (self.no_dir_atime, MountAttrFlags::MOUNT_ATTR_NODIRATIME),
            (self.no_symfollow, MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW),
        ]
        .into_iter()
        .filter_map(|(set, attribute)| set.then_some(attribute))
        .collect()
    }

    /// What `fsconfig` is told, since it concerns the file system and not the mount alone.
    pub(crate) fn of_the_file_system(self) -> impl Iterator<Item = &'static str> {
        let words = [
            (self.read_only, "ro"),
            (self.sync, "sync"),
            (self.dir_sync, "dirsync"),
            (self.lazy_time, "lazytime"),
        ];
        words.into_iter().filter_map(|(set, word)| set.then_some(word))
    }

    /// What `mount(2)` is told.
    pub(crate) fn bits(self) -> MountFlags {
        [
            (self.read_only, MountFlags::RDONLY),
            (self.no_suid, MountFlags::NOSUID),
            (self.no_dev, MountFlags::NODEV),
            (self.no_exec, MountFlags::NOEXEC),
            (self.no_atime, MountFlags::NOATIME),
            (self.strict_atime, MountFlags::STRICTATIME),
            (self.no_dir_atime, MountFlags::NODIRATIME),
            (self.no_symfollow, MountFlags::NOSYMFOLLOW),
            (self.sync, MountFlags::SYNCHRONOUS),
            (self.dir_sync, MountFlags::DIRSYNC),
            (self.lazy_time, MountFlags::LAZYTIME),
        ]
        .into_iter()
        .filter_map(|(set, bit)| set.then_some(bit))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(words: &[&str]) -> Flags {
        let mut flags = Flags::default();
        for word in words {
            assert!(flags.set(word), "{word}");
        }
        flags
    }

    #[test]
    fn every_word_sets_one_flag_and_its_opposite_takes_it_back() {
        for (word, opposite) in [
            ("ro", "rw"),
            ("nosuid", "suid"),
            ("nodev", "dev"),
            ("noexec", "exec"),
            ("noatime", "atime"),
            ("noatime", "relatime"),
            ("strictatime", "nostrictatime"),
            ("strictatime", "relatime"),
            ("nodiratime", "diratime"),
            ("nosymfollow", "symfollow"),
            ("sync", "async"),
            ("lazytime", "nolazytime"),
        ] {
            assert_eq!(flags(&[word]).bits().bits().count_ones(), 1, "{word}");
            assert_eq!(flags(&[word, opposite]), Flags::default(), "{word},{opposite}");
        }
        assert!(flags(&["dirsync"]).dir_sync);
    }

    #[test]
    fn the_last_word_on_access_times_wins() {
        assert_eq!(flags(&["strictatime", "noatime"]), flags(&["noatime"]));
        assert_eq!(flags(&["noatime", "strictatime"]), flags(&["strictatime"]));
        assert_eq!(flags(&["strictatime", "atime"]), flags(&["strictatime"]));
        assert_eq!(flags(&["noatime", "norelatime"]), flags(&["noatime"]));
    }

    #[test]
    fn other_words_are_left_to_others() {
        let mut none = Flags::default();
        assert!(!none.set("index") && !none.set("") && !none.set("nofail"));
        assert_eq!(none, Flags::default());
    }

    #[test]
    fn what_is_of_the_mount_and_what_of_the_file_system_is_told_to_each() {
        let all = flags(&["ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "nosymfollow", "sync"]);
        assert_eq!(all.attributes().bits().count_ones(), 7);
        assert_eq!(all.of_the_file_system().collect::<Vec<_>>(), ["ro", "sync"]);
        let late = flags(&["dirsync", "lazytime"]);
        assert_eq!(late.of_the_file_system().collect::<Vec<_>>(), ["dirsync", "lazytime"]);
        assert!(late.attributes().is_empty());
    }
}
