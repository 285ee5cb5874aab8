//! What to say to the kernel: a request becomes a list of settings, or a sentence that says why it cannot. Pure.

use std::path::PathBuf;

use overlay_core::spec::LayerSpec;

/// The most lowers of one mount (`OVL_MAX_STACK`): with one more the kernel answers EINVAL.
pub const LOWERS_MAX: usize = 500;

/// A union that somebody wants.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The read-only layers, topmost first.
    pub lowers: Vec<Lower>,
    /// The writable layer; without it the mount is read-only.
    pub upper: Option<Upper>,
    /// Options of overlayfs itself, as `redirect_dir` with `Some("on")` or `volatile` with `None`.
    pub options: Vec<(String, Option<String>)>,
    /// Flags of the mount.
    pub flags: Flags,
    /// What stands as the source in `/proc/mounts`; `overlay` if empty.
    pub source: String,
}

/// A read-only layer.
#[derive(Clone, Debug)]
pub struct Lower {
    /// What it is called.
    pub spec: LayerSpec,
    /// Whether its deletions are `.wh.` names.
    pub oci: bool,
}

/// The writable layer and its work directory.
#[derive(Clone, Debug)]
pub struct Upper {
    /// What receives the changes.
    pub upper: PathBuf,
    /// The work directory beside it.
    pub work: PathBuf,
}

/// Flags of a mount, each off unless set.
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
}

/// One call of `fsconfig`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// A key without a value.
    Flag(String),
    /// A key and its text.
    Text(String, String),
    /// A key and a directory, handed over as a descriptor.
    Directory(&'static str, PathBuf),
}

/// What the kernel is told, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The calls of `fsconfig`.
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
    /// A layer that is not a directory of this machine.
    #[error("the kernel engine merges local directories, and {0} is none")]
    NotLocal(String),
    /// A layer whose deletions the kernel cannot read.
    #[error("the kernel engine does not read the .wh. names of {0} (markers=oci)")]
    OciMarkers(String),
    /// One lower and no upper.
    #[error("the kernel engine needs a second lower layer where there is no upper")]
    SingleLower,
    /// More lowers than the kernel takes.
    #[error("the kernel engine merges at most {LOWERS_MAX} lower layers, these are {0}")]
    TooMany(usize),
}

impl Plan {
    /// Decides what to tell the kernel.
    ///
    /// # Errors
    /// A [`Refusal`] where the kernel's overlayfs cannot serve the request.
    pub fn new(request: &Request) -> Result<Self, Refusal> {
        check(request)?;
        let source = if request.source.is_empty() { "overlay" } else { &request.source };
        let mut settings = vec![Setting::Text("source".into(), source.into())];
        settings.extend(lowers(request));
        if let Some(upper) = &request.upper {
            settings.push(Setting::Directory("upperdir", upper.upper.clone()));
            settings.push(Setting::Directory("workdir", upper.work.clone()));
        }
        settings.extend(request.options.iter().cloned().map(option));
        settings.extend(unasked(request));
        if request.flags.read_only {
            settings.push(Setting::Flag("ro".into()));
        }
        Ok(Self { settings, flags: request.flags })
    }
}

fn check(request: &Request) -> Result<(), Refusal> {
    if let Some(lower) = request.lowers.iter().find(|lower| lower.spec.path().is_none()) {
        return Err(Refusal::NotLocal(lower.spec.to_string()));
    }
    if let Some(lower) = request.lowers.iter().find(|lower| lower.oci) {
        return Err(Refusal::OciMarkers(lower.spec.to_string()));
    }
    match request.lowers.len() {
        0 => Err(Refusal::NoLower),
        1 if request.upper.is_none() => Err(Refusal::SingleLower),
        count if count > LOWERS_MAX => Err(Refusal::TooMany(count)),
        _ => Ok(()),
    }
}

fn lowers(request: &Request) -> impl Iterator<Item = Setting> {
    let paths = request.lowers.iter().filter_map(|lower| lower.spec.path());
    paths.map(|path| Setting::Directory("lowerdir+", path))
}

/// Features whose marks the fuse engine does not read yet are off unless they are asked for, whatever the kernel's own
/// default: an upper that one engine wrote is one that the other reads. (With `userxattr` the kernel follows no redirect
/// anyway, and takes no option about it.)
fn unasked(request: &Request) -> impl Iterator<Item = Setting> {
    let given = |key: &str| request.options.iter().any(|(option, _)| option == key);
    let wanted = |key: &&str| request.upper.is_some() && !given(key) && !given("userxattr");
    let off: Vec<_> = ["redirect_dir", "metacopy"].into_iter().filter(wanted).collect();
    let related = given("nfs_export") || given("verity");
    off.into_iter().filter(move |_| !related).map(|key| Setting::Text(key.into(), "off".into()))
}

fn option((key, value): (String, Option<String>)) -> Setting {
    match value {
        None => Setting::Flag(key),
        Some(value) => Setting::Text(key, value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lower(text: &str) -> Lower {
        Lower { spec: LayerSpec::parse(text).unwrap(), oci: false }
    }

    fn over(lowers: &[&str]) -> Request {
        Request { lowers: lowers.iter().copied().map(lower).collect(), ..Request::default() }
    }

    fn upper() -> Option<Upper> {
        Some(Upper { upper: "/u".into(), work: "/w".into() })
    }

    #[test]
    fn layers_come_top_first_and_options_follow() {
        let options = vec![("volatile".into(), None), ("xino".into(), Some("on".into()))];
        let flags = Flags { read_only: true, ..Flags::default() };
        let request = Request { upper: upper(), options, flags, ..over(&["/a:x", "b"]) };
        let expected = [
            Setting::Text("source".into(), "overlay".into()),
            Setting::Directory("lowerdir+", "/a:x".into()),
            Setting::Directory("lowerdir+", "b".into()),
            Setting::Directory("upperdir", "/u".into()),
            Setting::Directory("workdir", "/w".into()),
            Setting::Flag("volatile".into()),
            Setting::Text("xino".into(), "on".into()),
            Setting::Text("redirect_dir".into(), "off".into()),
            Setting::Text("metacopy".into(), "off".into()),
            Setting::Flag("ro".into()),
        ];
        assert_eq!(Plan::new(&request).unwrap(), Plan { settings: expected.into(), flags });
    }

    #[test]
    fn features_that_are_asked_for_are_left_on() {
        let settings = |options: &[(&str, Option<&str>)]| {
            let options = options.iter().map(|(key, value)| ((*key).into(), value.map(Into::into))).collect();
            let request = Request { upper: upper(), options, ..over(&["/a"]) };
            let off = |setting: &Setting| matches!(setting, Setting::Text(_, value) if value == "off");
            Plan::new(&request).unwrap().settings.into_iter().filter(off).count()
        };
        assert_eq!(settings(&[]), 2);
        assert_eq!(settings(&[("redirect_dir", Some("on"))]), 1);
        assert_eq!(settings(&[("redirect_dir", Some("on")), ("metacopy", Some("on"))]), 0);
        assert_eq!(settings(&[("userxattr", None)]), 0);
    }

    #[test]
    fn what_the_kernel_cannot_do_is_refused_by_a_sentence() {
        let oci = Request { lowers: vec![Lower { oci: true, ..lower("/l") }], upper: upper(), ..over(&[]) };
        for (request, words) in [
            (over(&[]), "at least one lower"),
            (over(&["/a", "s3://b/p"]), "s3://b/p is none"),
            (oci, ".wh. names of /l"),
            (over(&["/a"]), "a second lower"),
            (over(&["/a"; LOWERS_MAX + 1]), "at most 500 lower layers, these are 501"),
        ] {
            let sentence = Plan::new(&request).unwrap_err().to_string();
            assert!(sentence.contains(words), "{sentence}");
        }
    }

    #[test]
    fn the_limits_themselves_are_allowed() {
        for request in
            [over(&["/a"; LOWERS_MAX]), over(&["/a", "/b"]), Request { upper: upper(), ..over(&["/a"]) }]
        {
            Plan::new(&request).unwrap();
        }
    }
}
