//! What to say to the kernel: a request becomes layers and settings, or a sentence that says why it cannot. Pure.

use std::fmt;
use std::path::PathBuf;

use crate::flags::Flags;
use crate::options::Given;

/// The most lowers of one mount (`OVL_MAX_STACK`), data-only ones counted: with one more the kernel answers EINVAL.
pub const LOWERS_MAX: usize = 500;

/// The longest source that `fsconfig` takes; with one byte more it answers EINVAL.
const SOURCE_MAX: usize = 255;

/// A union that somebody wants.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The read-only layers, topmost first.
    pub lowers: Vec<Lower>,
    /// Data-only lowers (`datadir+`): their names are not merged, metacopy files of the lowers find their data there.
    pub data: Vec<Lower>,
    /// The writable layer; without it the mount is read-only.
    pub upper: Option<Upper>,
    /// Options of overlayfs itself, as `redirect_dir` with `Some("on")` or `volatile` with `None`; generic words of
    /// `mount(8)` as `ro` are taken too, and go over `flags`.
    pub options: Vec<(String, Option<String>)>,
    /// Flags of the mount.
    pub flags: Flags,
    /// What stands as the source in `/proc/mounts`; `overlay` if empty.
    pub source: String,
}

/// A read-only layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lower {
    /// A directory of this machine.
    Directory(PathBuf),
    /// A mount that has no path (from `fsmount`).
    Mount {
        /// Its place in the list given to [`mount`](crate::mount).
        index: usize,
        /// What people call it.
        name: String,
    },
}

impl fmt::Display for Lower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => path.display().fmt(f),
            Self::Mount { name, .. } => f.write_str(name),
        }
    }
}

/// The writable layer and its work directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upper {
    /// What receives the changes.
    pub upper: PathBuf,
    /// The work directory beside it.
    pub work: PathBuf,
}

/// What a layer is to the union.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Merged, never written.
    Lower,
    /// Gives data to the lowers alone.
    Data,
    /// Receives the changes.
    Upper,
    /// The work directory.
    Work,
}

impl Role {
    /// The key by which `fsconfig` is told.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Lower => "lowerdir+",
            Self::Data => "datadir+",
            Self::Upper => "upperdir",
            Self::Work => "workdir",
        }
    }
}

/// One directory that the kernel is told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// What it is to the union.
    pub role: Role,
    /// Where it is.
    pub place: Lower,
}

/// An option that the kernel is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// A key without a value.
    Flag(String),
    /// A key and its text.
    Text(String, String),
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(key) => f.write_str(key),
            Self::Text(key, value) => write!(f, "{key}={value}"),
        }
    }
}

/// What the kernel is told, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What stands as the source in `/proc/mounts`.
    pub source: String,
    /// The layers: lowers, topmost first, then data-only ones, then upper and work.
    pub layers: Vec<Layer>,
    /// The options.
    pub settings: Vec<Setting>,
    /// Flags of the mount.
    pub flags: Flags,
}

/// Why the kernel engine cannot serve a request, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is nothing to merge.
    #[error("a union needs at least one lower layer")]
    NoLower,
    /// One lower and no upper.
    #[error("the kernel engine needs a second lower layer where there is no upper")]
    SingleLower,
    /// More lowers than the kernel takes.
    #[error("the kernel engine merges at most {LOWERS_MAX} lower layers, these are {0}")]
    TooMany(usize),
    /// A source that the kernel would not take.
    #[error("the source of a mount is at most {SOURCE_MAX} bytes long, this one is {0}; use a shorter one")]
    LongSource(usize),
    /// Access times both kept and not.
    #[error("noatime and strictatime exclude each other; use one of the two")]
    AccessTimes,
    /// An option that is none of overlayfs's.
    #[error("overlayfs has no option {key}; it has {known}")]
    UnknownOption {
        /// The option.
        key: String,
        /// Those that there are.
        known: String,
    },
    /// A value that the option does not take.
    #[error("{key}={value} is none of {key}={valid}")]
    BadValue {
        /// The option.
        key: String,
        /// What was given.
        value: String,
        /// What could be.
        valid: String,
    },
    /// A value for an option that takes none.
    #[error("{key} takes no value; write {key} alone")]
    NeedlessValue {
        /// The option.
        key: String,
    },
    /// No value for an option that needs one.
    #[error("{key} needs a value; write {key}=VALUE")]
    MissingValue {
        /// The option.
        key: String,
    },
    /// Two options that exclude each other.
    #[error("overlayfs does not take {one} and {other} together: {instead}")]
    Conflict {
        /// An option.
        one: String,
        /// The other one.
        other: String,
        /// Why, and what to do.
        instead: &'static str,
    },
}

impl Plan {
    /// Decides what to tell the kernel.
    ///
    /// # Errors
    /// A [`Refusal`] where the kernel's overlayfs cannot serve the request.
    pub fn new(request: &Request) -> Result<Self, Refusal> {
        let mut flags = request.flags;
        let is_option = |(key, value): &&(String, Option<String>)| value.is_some() || !flags.set(key);
        let options: Vec<_> = request.options.iter().filter(is_option).cloned().collect();
        let upper = request.upper.is_some();
        check(request, flags)?;
        Given(&options).check(upper)?;
        let source = if request.source.is_empty() { "overlay" } else { &request.source };
        Ok(Self {
            source: source.into(),
            layers: layers(request).collect(),
            settings: Given(&options).settings(upper, !request.data.is_empty()),
            flags,
        })
    }

    /// Whether a flag or an option with this key and value is told.
    pub(crate) fn tells(&self, key: &str, value: Option<&str>) -> bool {
        self.settings.iter().any(|setting| match setting {
            Setting::Flag(told) => told == key && value.is_none(),
            Setting::Text(told, text) => told == key && value == Some(text),
        })
    }
}

fn check(request: &Request, flags: Flags) -> Result<(), Refusal> {
    let count = request.lowers.len() + request.data.len();
    if request.lowers.is_empty() {
        return Err(Refusal::NoLower);
    }
    if count == 1 && request.upper.is_none() {
        return Err(Refusal::SingleLower);
    }
    if count > LOWERS_MAX {
        return Err(Refusal::TooMany(count));
    }
    if request.source.len() > SOURCE_MAX {
        return Err(Refusal::LongSource(request.source.len()));
    }
    if flags.no_atime && flags.strict_atime {
        return Err(Refusal::AccessTimes);
    }
    Ok(())
}

fn layers(request: &Request) -> impl Iterator<Item = Layer> {
    let of = |role| move |place: &Lower| Layer { role, place: place.clone() };
    let pair =
        request.upper.iter().flat_map(|Upper { upper, work }| [(Role::Upper, upper), (Role::Work, work)]);
    let pair = pair.map(|(role, path)| Layer { role, place: Lower::Directory(path.clone()) });
    request.lowers.iter().map(of(Role::Lower)).chain(request.data.iter().map(of(Role::Data))).chain(pair)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over(lowers: &[&str]) -> Request {
        let lowers = lowers.iter().map(|path| Lower::Directory(path.into())).collect();
        Request { lowers, ..Request::default() }
    }

    fn upper() -> Option<Upper> {
        Some(Upper { upper: "/u".into(), work: "/w".into() })
    }

    fn refusal(request: &Request) -> Refusal {
        Plan::new(request).unwrap_err()
    }

    #[test]
    fn layers_come_top_first_and_the_upper_last() {
        let s3 = Lower::Mount { index: 3, name: "s3://bucket".into() };
        let request = Request {
            upper: upper(),
            lowers: vec![Lower::Directory("/a:x".into()), s3.clone()],
            data: vec![Lower::Directory("d".into())],
            ..Request::default()
        };
        let directory = |path: &str| Lower::Directory(path.into());
        let expected = [
            (Role::Lower, directory("/a:x")),
            (Role::Lower, s3),
            (Role::Data, directory("d")),
            (Role::Upper, directory("/u")),
            (Role::Work, directory("/w")),
        ];
        let expected: Vec<_> = expected.into_iter().map(|(role, place)| Layer { role, place }).collect();
        assert_eq!(Plan::new(&request).unwrap().layers, expected);
    }

    #[test]
    fn generic_words_become_flags_and_the_rest_settings() {
        let options = ["volatile", "noatime", "ro"].map(|word| (word.to_owned(), None)).to_vec();
        let flags = Flags { no_dev: true, ..Flags::default() };
        let plan = Plan::new(&Request { upper: upper(), options, flags, ..over(&["/a"]) }).unwrap();
        assert_eq!(plan.flags, Flags { no_dev: true, no_atime: true, read_only: true, ..Flags::default() });
        let settings: Vec<_> = plan.settings.iter().map(ToString::to_string).collect();
        assert_eq!(settings, ["volatile", "redirect_dir=on", "metacopy=off"]);
        assert!(plan.tells("volatile", None) && plan.tells("metacopy", Some("off")));
        assert!(!plan.tells("metacopy", None) && !plan.tells("volatile", Some("off")));
    }

    #[test]
    fn the_source_is_overlay_unless_named() {
        assert_eq!(Plan::new(&over(&["/a", "/b"])).unwrap().source, "overlay");
        let named = Request { source: "me".into(), ..over(&["/a", "/b"]) };
        assert_eq!(Plan::new(&named).unwrap().source, "me");
    }

    #[test]
    fn what_the_kernel_cannot_do_is_refused_by_a_sentence() {
        let data = Request { data: over(&["/d"]).lowers, ..over(&["/a"; LOWERS_MAX]) };
        let atime = Flags { no_atime: true, strict_atime: true, ..Flags::default() };
        let option = |key: &str, value: Option<&str>| Request {
            options: vec![(key.into(), value.map(Into::into))],
            ..over(&["/a", "/b"])
        };
        for (request, words) in [
            (over(&[]), "at least one lower"),
            (Request { data: over(&["/d"]).lowers, ..over(&[]) }, "at least one lower"),
            (Request { upper: upper(), ..over(&[]) }, "at least one lower"),
            (over(&["/a"]), "a second lower layer where there is no upper"),
            (over(&["/a"; LOWERS_MAX + 1]), "at most 500 lower layers, these are 501"),
            (data, "these are 501"),
            (Request { source: "x".repeat(256), ..over(&["/a", "/b"]) }, "this one is 256; use a shorter"),
            (Request { flags: atime, ..over(&["/a", "/b"]) }, "noatime and strictatime"),
            (option("ro", Some("1")), "no option ro"),
            (option("index", None), "none of index=on, off"),
        ] {
            let sentence = refusal(&request).to_string();
            assert!(sentence.contains(words), "{sentence}");
        }
    }

    #[test]
    fn the_limits_themselves_are_allowed() {
        for request in [
            over(&["/a"; LOWERS_MAX]),
            over(&["/a", "/b"]),
            Request { upper: upper(), ..over(&["/a"]) },
            Request { data: over(&["/d"]).lowers, ..over(&["/a"]) },
            Request { data: over(&["/d"]).lowers, ..over(&["/a"; LOWERS_MAX - 1]) },
            Request { source: "x".repeat(255), ..over(&["/a", "/b"]) },
        ] {
            Plan::new(&request).unwrap();
        }
    }
}
