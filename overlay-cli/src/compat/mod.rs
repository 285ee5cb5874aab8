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

mod lowers;
mod nearest;
mod split;
#[cfg(test)]
mod tests;

use split::{Item, unescape, unescape_commas};

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

/// What the `-o` strings say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// The lower layers, topmost first.
    pub(crate) lowers: Vec<Vec<u8>>,
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
    /// The source in `/proc/mounts`.
    pub(crate) fsname: Option<String>,
    /// Flags of the mount, where they were given.
    pub(crate) toggles: Toggles,
    /// Options of the kernel's overlayfs.
    pub(crate) kernel: Vec<(String, String)>,
    has_lowerdir: bool,
}

/// Flags of a mount that were switched on or off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Toggles {
    /// `ro` or `rw`.
    pub(crate) read_only: Option<bool>,
    /// `nosuid` or `suid`.
    pub(crate) no_suid: Option<bool>,
    /// `nodev` or `dev`.
    pub(crate) no_dev: Option<bool>,
    /// `noexec` or `exec`.
    pub(crate) no_exec: Option<bool>,
    /// `noatime` or `atime`.
    pub(crate) no_atime: Option<bool>,
}

/// Options without a value that are on or off.
const FLAGS: [&str; 13] = [
    "ro",
    "rw",
    "nosuid",
    "suid",
    "nodev",
    "dev",
    "noexec",
    "exec",
    "noatime",
    "atime",
    "allow_other",
    "volatile",
    "userxattr",
];

/// Options that ask for what is so anyway.
const NEEDLESS: [&str; 3] = ["defaults", "default_permissions", "relatime"];

/// Options with a value.
const KEYS: [&str; 6] = ["lowerdir", "lowerdir+", "upperdir", "workdir", "markers", "fsname"];

/// Options of the kernel's overlayfs that decide how it keeps what it writes.
const KERNEL: [&str; 7] = ["redirect_dir", "index", "metacopy", "xino", "nfs_export", "uuid", "verity"];

/// Reads all `-o` strings as if they were one.
///
/// # Errors
/// An option that is unknown, is given twice, or whose value makes no sense.
pub(crate) fn parse<T: AsRef<[u8]>>(strings: &[T]) -> Result<Options> {
    let mut options = Options::default();
    for string in strings {
        for item in split::items(string.as_ref())? {
            options.take(&item)?;
        }
    }
    Ok(options)
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
            key if NEEDLESS.contains(&key) => item.without_value(),
            // For mount(8) and systemd alone.
            key if key.starts_with("x-") || key.starts_with("X-") => Ok(()),
            "datadir+" => Err(Failure::new("data-only layers (datadir+) are not supported yet")),
            key => Err(unknown(key)),
        }
    }

    fn take_value(&mut self, key: &str, value: &[u8]) -> Result<()> {
        match key {
            "lowerdir" => {
                if std::mem::replace(&mut self.has_lowerdir, true) {
                    return Err(twice(key));
                }
                self.lowers.extend(lowers::split(value)?);
            }
            "lowerdir+" if value.is_empty() => return Err(Failure::new("the option lowerdir+ is empty")),
            "lowerdir+" => self.lowers.push(unescape_commas(value)),
            "upperdir" => set(&mut self.upper, key, unescape(value))?,
            "workdir" => set(&mut self.work, key, unescape(value))?,
            "markers" => set(&mut self.markers, key, Markers::parse(&text(key, value)?)?)?,
            _ => set(&mut self.fsname, key, text(key, &unescape(value))?)?,
        }
        Ok(())
    }

    fn take_flag(&mut self, key: &str, item: &Item) -> Result<()> {
        item.without_value()?;
        let toggles = &mut self.toggles;
        match key {
            "ro" | "rw" => toggles.read_only = Some(key == "ro"),
            "nosuid" | "suid" => toggles.no_suid = Some(key == "nosuid"),
            "nodev" | "dev" => toggles.no_dev = Some(key == "nodev"),
            "noexec" | "exec" => toggles.no_exec = Some(key == "noexec"),
            "noatime" | "atime" => toggles.no_atime = Some(key == "noatime"),
            "allow_other" => self.allow_other = true,
            "volatile" => self.volatile = true,
            _ => self.userxattr = true,
        }
        Ok(())
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
    let known = KEYS.iter().chain(&KERNEL).chain(&FLAGS).chain(&NEEDLESS).copied();
    match nearest::nearest(key, known) {
        Some(near) => Failure::new(format!("there is no option \"{key}\"; did you mean \"{near}\"?")),
        None => Failure::new(format!("there is no option \"{key}\"; see \"overlay mount --help\"")),
    }
}
