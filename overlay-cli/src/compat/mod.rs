//! The `-o` string of mount(8), as the kernel's overlayfs understands it. Pure.
//!
//! | written | means |
//! |---|---|
//! | `a,b=c` | options; empty items are skipped |
//! | `\,` | a comma in a value |
//! | `key="a,b"` | a value with commas |
//! | `lowerdir=A:B` | layers, topmost first; `\:` is a colon, `\\` a backslash, `\040` a byte in octal |
//! | `lowerdir=A:s3://b/p` | the colon of `://` separates nothing, nor does that of a port after `http://` |
//! | `lowerdir+=A` | one more layer, below the ones before; no escape but `\,` |
//! | `lowerdir=A::D`, `datadir+=D` | D only holds the data of metacopy files in layers above |
//!
//! Whom objects are shown to belong to is said as to fuse-overlayfs (`owners`).

mod lowers;
mod nearest;
mod owners;
mod split;
#[cfg(test)]
mod tests;

pub(crate) use owners::OwnerOptions;
use split::{Item, unescape, unescape_commas};

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use overlay_kernel::Flags;

use crate::failure::{Failure, Result};

/// How deletions are written in the lower layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Markers {
    /// As the kernel's overlayfs writes them.
    Kernel,
    /// As `.wh.` names, which AUFS and OCI images have.
    Oci,
}

impl Markers {
    /// Reads the value of `markers=`.
    pub(crate) fn parse(value: &str) -> Result<Self> {
        match value {
            "kernel" => Ok(Self::Kernel),
            "oci" => Ok(Self::Oci),
            _ => Err(Failure::new(format!("markers={value} is neither markers=kernel nor markers=oci"))),
        }
    }
}

/// Whether mounts inside a mount show in its copies (mount_namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Propagation {
    /// Not at all.
    Private,
    /// Both ways.
    Shared,
    /// Those of the others show here.
    Slave,
    /// Not at all, and it cannot be copied.
    Unbindable,
}

impl Propagation {
    /// Reads the word of mount(8). What is new has nothing inside, so a word for all of it says no more.
    fn parse(word: &str) -> Option<Self> {
        match word {
            "private" | "rprivate" => Some(Self::Private),
            "shared" | "rshared" => Some(Self::Shared),
            "slave" | "rslave" => Some(Self::Slave),
            "unbindable" | "runbindable" => Some(Self::Unbindable),
            _ => None,
        }
    }
}

/// What the `-o` strings say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// The lower layers, topmost first.
    pub(crate) lowers: Vec<Vec<u8>>,
    /// The lower layers that only hold data.
    pub(crate) data: Vec<Vec<u8>>,
    /// The upper layer.
    pub(crate) upper: Option<Vec<u8>>,
    /// The work directory.
    pub(crate) work: Option<Vec<u8>>,
    /// The deletions of all lowers that do not say otherwise.
    pub(crate) markers: Option<Markers>,
    /// Leave out every sync.
    pub(crate) volatile: bool,
    /// Marks are `user.` xattrs.
    pub(crate) userxattr: bool,
    /// Whether other users may enter.
    pub(crate) allow_other: bool,
    /// Change the mount that is there, instead of making one.
    pub(crate) remount: bool,
    /// The source in `/proc/mounts`.
    pub(crate) fsname: Option<String>,
    /// Whether what is mounted inside the union, or on it, shows elsewhere.
    pub(crate) propagation: Option<Propagation>,
    /// What any mount can be, as `ro` or `nodev`, in the order in which it was said.
    generic: Vec<String>,
    /// Options of the kernel's overlayfs.
    pub(crate) kernel: Vec<(String, String)>,
    /// Whom objects are shown to belong to.
    pub(crate) owners: OwnerOptions,
    has_lowerdir: bool,
    /// One of [`SHOWN`] that was given.
    shown: Option<String>,
}

/// Options without a value.
const FLAGS: [&str; 4] = ["allow_other", "volatile", "userxattr", "remount"];

/// Words of mount(8) for what any mount can be, for hints; [`Flags::set`] knows them all.
const GENERIC: [&str; 12] = [
    "ro",
    "rw",
    "nosuid",
    "nodev",
    "noexec",
    "noatime",
    "strictatime",
    "nodiratime",
    "nosymfollow",
    "sync",
    "dirsync",
    "lazytime",
];

/// Options that ask for what is so anyway.
const NEEDLESS: [&str; 2] = ["defaults", "default_permissions"];

/// What a FUSE mount shows of itself, and what mount(8) therefore says again when it asks for a remount.
const SHOWN: [&str; 5] = ["user_id", "group_id", "max_read", "blksize", "subtype"];

/// Options with a value.
const KEYS: [&str; 7] = ["lowerdir", "lowerdir+", "datadir+", "upperdir", "workdir", "markers", "fsname"];

/// Options of the kernel's overlayfs that decide how it keeps what it writes.
const KERNEL: [&str; 7] = ["redirect_dir", "index", "metacopy", "xino", "nfs_export", "uuid", "verity"];

/// Reads all `-o` strings as if they were one.
///
/// # Errors
/// An option that is unknown, is given twice, or whose value makes no sense.
pub(crate) fn parse<T: AsRef<OsStr>>(strings: &[T]) -> Result<Options> {
    let mut options = Options::default();
    for string in strings {
        for item in split::items(string.as_ref().as_bytes())? {
            options.take(&item)?;
        }
    }
    match options.shown.as_deref() {
        Some(key) if !options.remount => Err(unknown(key)),
        _ => Ok(options),
    }
}

impl Options {
    fn take(&mut self, item: &Item) -> Result<()> {
        match item.key.as_str() {
            key if KEYS.contains(&key) => self.take_value(key, item.required()?),
            key if KERNEL.contains(&key) => {
                self.kernel.push((key.into(), text(key, item.required()?)?));
                Ok(())
            }
            key if FLAGS.contains(&key) => self.take_flag(key, item),
            key if owners::KEYS.contains(&key) => self.owners.take(key, item.required()?),
            key if owners::FLAGS.contains(&key) => {
                self.owners.squash_to_root(key);
                item.without_value()
            }
            key if Propagation::parse(key).is_some() => {
                self.propagation = Propagation::parse(key);
                item.without_value()
            }
            key if Flags::default().set(key) => {
                self.generic.push(key.into());
                item.without_value()
            }
            key if NEEDLESS.contains(&key) => item.without_value(),
            key if SHOWN.contains(&key) => {
                self.shown = Some(key.into());
                Ok(())
            }
            // For mount(8) and systemd alone.
            key if key.starts_with("x-") || key.starts_with("X-") => Ok(()),
            key => Err(unknown(key)),
        }
    }

    fn take_value(&mut self, key: &str, value: &[u8]) -> Result<()> {
        match key {
            "lowerdir" => {
                if std::mem::replace(&mut self.has_lowerdir, true) {
                    return Err(twice(key));
                }
                let split = lowers::split(value)?;
                self.lowers.extend(split.lowers);
                self.data.extend(split.data);
            }
            "lowerdir+" | "datadir+" if value.is_empty() => {
                return Err(Failure::new(format!("the option {key} is empty")));
            }
            "lowerdir+" => self.lowers.push(unescape_commas(value)),
            "datadir+" => self.data.push(unescape_commas(value)),
            "upperdir" => set(&mut self.upper, key, unescape(value))?,
            "workdir" => set(&mut self.work, key, unescape(value))?,
            "markers" => set(&mut self.markers, key, Markers::parse(&text(key, value)?)?)?,
            _ => set(&mut self.fsname, key, text(key, &unescape(value))?)?,
        }
        Ok(())
    }

    fn take_flag(&mut self, key: &str, item: &Item) -> Result<()> {
        if key == "volatile" && item.value.is_some() {
            return self.take_volatile(item.required()?);
        }
        item.without_value()?;
        match key {
            "allow_other" => self.allow_other = true,
            "volatile" => self.volatile = true,
            "remount" => self.remount = true,
            _ => self.userxattr = true,
        }
        Ok(())
    }

    /// As fuse-overlayfs takes it.
    fn take_volatile(&mut self, value: &[u8]) -> Result<()> {
        self.volatile = match value {
            b"1" => true,
            b"0" => false,
            _ => return Err(Failure::new("volatile takes no value, or 0 or 1")),
        };
        Ok(())
    }

    /// What the words for any mount say; a later one wins.
    pub(crate) fn flags(&self) -> Flags {
        let mut flags = Flags::default();
        for word in &self.generic {
            flags.set(word);
        }
        flags
    }

    /// Whether the mount was said to be read-only, or not to be.
    pub(crate) fn read_only(&self) -> Option<bool> {
        let said = |word: &str| matches!(word, "ro" | "rw");
        self.generic.iter().rfind(|word| said(word)).map(|word| word == "ro")
    }

    /// An option that a mount does not take up live, if one was given.
    pub(crate) fn beyond_remount(&self) -> Option<&str> {
        let generic = self.generic.iter().map(String::as_str).find(|word| !matches!(*word, "ro" | "rw"));
        let layers = [
            (!self.lowers.is_empty(), "lowerdir"),
            (!self.data.is_empty(), "datadir+"),
            (self.upper.is_some(), "upperdir"),
            (self.work.is_some(), "workdir"),
            (self.markers.is_some(), "markers"),
            (self.volatile, "volatile"),
            (self.userxattr, "userxattr"),
            (self.allow_other, "allow_other"),
            (self.fsname.is_some(), "fsname"),
        ];
        let given = layers.into_iter().find_map(|(given, key)| given.then_some(key));
        let given = given.or_else(|| self.owners.given());
        given.or(generic).or_else(|| self.kernel.first().map(|(key, _)| key.as_str()))
    }
}

fn set<T>(place: &mut Option<T>, key: &str, value: T) -> Result<()> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(twice(key)),
    }
}

fn twice(key: &str) -> Failure {
    Failure::new(format!("the option {key} is given twice"))
}

fn text(key: &str, value: &[u8]) -> Result<String> {
    let text = std::str::from_utf8(value).map(str::to_owned);
    text.map_err(|_| Failure::new(format!("the value of the option {key} is not UTF-8")))
}

fn unknown(key: &str) -> Failure {
    let known = KEYS.iter().chain(&KERNEL).chain(&FLAGS).chain(&GENERIC).chain(&NEEDLESS);
    let known = known.chain(&owners::KEYS).chain(&owners::FLAGS);
    match nearest::nearest(key, known.copied()) {
        Some(near) => Failure::new(format!("there is no option \"{key}\"; did you mean \"{near}\"?")),
        None => Failure::new(format!("there is no option \"{key}\"; see \"overlay mount --help\"")),
    }
}
