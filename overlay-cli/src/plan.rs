//! What the typed words mean, whether it makes sense, and which engine serves it. Pure: what the file system says
//! comes in as [`Facts`], what the kernel offers as [`Offer`].

#[cfg(test)]
mod tests;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use overlay_core::spec::LayerSpec;
use overlay_kernel::{Flags, Offer, Plan, Request, Upper};

use crate::args::{self, Wanted};
use crate::compat::{Markers, Options};
use crate::facts::{Directory, Facts};
use crate::failure::{Failure, Result};
use crate::features::Features;

/// A read-only layer.
#[derive(Clone, Debug)]
pub(crate) struct Lower {
    /// What it is called.
    pub(crate) spec: LayerSpec,
    /// Whether its deletions are `.wh.` names.
    pub(crate) oci: bool,
    /// Whether it lies on so many file systems that the kernel merges no more of it.
    pub(crate) too_deep: bool,
}

impl Lower {
    /// The directory, if it is one that the kernel reads as it is.
    pub(crate) fn plain(&self) -> Option<PathBuf> {
        self.spec.path().filter(|_| !self.oci && !self.too_deep)
    }
}

/// A mount that somebody wants.
#[derive(Debug)]
pub(crate) struct Intent {
    /// The read-only layers, topmost first.
    pub(crate) lowers: Vec<Lower>,
    /// Layers that only hold data for files of the others.
    pub(crate) data: Vec<Lower>,
    /// The writable layer.
    pub(crate) upper: Option<Upper>,
    /// Whether the kernel's overlayfs has the upper mounted elsewhere, and this mount only reads it.
    pub(crate) upper_in_use: bool,
    /// Whether all lower layers are directories of one file system.
    pub(crate) on_one_file_system: bool,
    /// Where to mount.
    pub(crate) mountpoint: PathBuf,
    /// The engine that was asked for.
    pub(crate) wanted: Wanted,
    /// What else the `-o` strings say.
    pub(crate) options: Options,
}

/// The engine that serves a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// This program.
    Fuse,
    /// The kernel's overlayfs.
    Kernel,
}

impl Engine {
    /// Its name, as `--engine` takes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fuse => "fuse",
            Self::Kernel => "kernel",
        }
    }
}

/// An engine and the reason for it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// The engine.
    pub(crate) engine: Engine,
    /// Why it is this one.
    pub(crate) why: String,
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "engine {}: {}", self.engine.name(), self.why)
    }
}

impl Intent {
    /// Reads what was typed, and what the `-o` strings say.
    pub(crate) fn read(args: &args::Mount, mut options: Options) -> Result<Self> {
        let typed = args.lower.iter().map(|lower| lower.as_bytes().to_vec()).collect();
        let names = either(typed, std::mem::take(&mut options.lowers))?;
        let upper = one("upper", args.upper.clone(), options.upper.take())?;
        let work = one("work", args.work.clone(), options.work.take())?;
        let markers = options.markers.unwrap_or(Markers::Kernel);
        Ok(Self {
            lowers: lowers(&names, markers)?,
            data: lowers(&std::mem::take(&mut options.data), markers)?,
            upper: pair(upper, work)?,
            upper_in_use: false,
            on_one_file_system: false,
            mountpoint: args.mountpoint.clone(),
            wanted: args.engine,
            options,
        })
    }

    /// Whether nothing is to be written.
    pub(crate) fn only_reads(&self) -> bool {
        self.options.flags().read_only
    }

    /// Takes notice of what the kernel cannot read, though it is a directory, and of what it has in use.
    pub(crate) fn heed(&mut self, facts: &Facts) {
        for (lower, too_deep) in self.lowers.iter_mut().chain(&mut self.data).zip(&facts.too_deep) {
            lower.too_deep = *too_deep;
        }
        self.upper_in_use = facts.upper_mounted_on.is_some();
        self.on_one_file_system = facts.are_lowers_on_one_file_system();
    }

    /// The layers below the upper, those for data last.
    pub(crate) fn all_lowers(&self) -> impl Iterator<Item = &Lower> {
        self.lowers.iter().chain(&self.data)
    }

    /// The layers that the kernel cannot read as they are, in the order in which its plan numbers them.
    pub(crate) fn images(&self) -> impl Iterator<Item = &Lower> {
        self.all_lowers().filter(|lower| lower.plain().is_none())
    }

    /// Fails if the file system shows that the mount cannot be meant so.
    pub(crate) fn check(&self, facts: &Facts) -> Result<()> {
        for (lower, directory) in self.all_lowers().zip(&facts.lowers) {
            if let Some(directory) = directory {
                present("lower layer", &lower.spec.to_string(), directory)?;
            }
        }
        if let (Some(Upper { upper, work }), Some((upper_is, work_is))) = (&self.upper, &facts.upper) {
            let upper_dev = present("upper", &upper.display().to_string(), upper_is)?.0;
            let work_dev = present("work", &work.display().to_string(), work_is)?.0;
            if upper_dev != work_dev {
                let (work, upper) = (work.display(), upper.display());
                let sentence = format!("work {work} must be on the same file system as upper {upper}");
                return Err(Failure::new(sentence));
            }
        }
        present("mount point", &self.mountpoint.display().to_string(), &facts.mountpoint)?;
        self.check_overlap(facts)?;
        if let Some(layer) = &facts.mounted_inside {
            let mountpoint = self.mountpoint.display();
            return Err(Failure::new(format!(
                "mount point {mountpoint} lies inside the layer {layer}, which would lead into itself; name the \
                 layer by its path"
            )));
        }
        match (&self.upper, &facts.upper_mounted_on) {
            (Some(Upper { upper, .. }), Some(place)) if !self.only_reads() => {
                let (upper, place) = (upper.display(), place.display());
                Err(Failure::new(format!("upper {upper} is in use by the mount on {place}")))
            }
            _ => Ok(()),
        }
    }

    /// Fails if a layer is given twice.
    fn check_overlap(&self, facts: &Facts) -> Result<()> {
        let mut seen: Vec<(String, Identity<'_>)> = Vec::new();
        if let (Some(Upper { upper, work }), Some((upper_is, work_is))) = (&self.upper, &facts.upper) {
            for (role, path, directory) in [("upper", upper, upper_is), ("work", work, work_is)] {
                admit(&mut seen, format!("{role} {}", path.display()), Identity::directory(directory))?;
            }
        }
        for (lower, directory) in self.all_lowers().zip(&facts.lowers) {
            let identity = match directory {
                Some(directory) => Identity::directory(directory),
                None => Some(Identity::Spec(&lower.spec)),
            };
            admit(&mut seen, format!("lower layer {}", lower.spec), identity)?;
        }
        Ok(())
    }

    /// Chooses the engine.
    pub(crate) fn choose(&self, offer: &Offer) -> Result<Choice> {
        let obstacle = self.obstacle(offer);
        match (self.wanted, obstacle) {
            (Wanted::Kernel, Some(obstacle)) => {
                Err(Failure::new(format!("{obstacle}; leave out --engine kernel or use --engine fuse")))
            }
            (Wanted::Kernel, None) => Ok(Choice { engine: Engine::Kernel, why: "it was asked for".into() }),
            (Wanted::Auto, None) => Ok(Choice { engine: Engine::Kernel, why: self.why_kernel() }),
            (Wanted::Auto, Some(obstacle)) => self.fuse(obstacle),
            (Wanted::Fuse, _) => self.fuse("it was asked for".into()),
        }
    }

    fn why_kernel(&self) -> String {
        match self.images().count() {
            0 => "all layers are local directories and this process may mount overlayfs".into(),
            1 => format!(
                "this process may mount overlayfs, and the layer {} is served to it",
                self.images().map(|lower| lower.spec.to_string()).collect::<String>()
            ),
            count => format!(
                "this process may mount overlayfs, and the {count} layers that are no plain directories are served \
                 to it"
            ),
        }
    }

    /// The FUSE engine, where it has all that is wanted.
    pub(crate) fn fuse(&self, why: String) -> Result<Choice> {
        // Files are known in it by their file system and handle, and two file systems may be copies of each other.
        if Features::read(&self.options.kernel, &why)?.index && !self.on_one_file_system {
            let sentence =
                "the fuse engine has index=on for directories of one file system alone; leave it out";
            return Err(Failure::new(sentence));
        }
        Ok(Choice { engine: Engine::Fuse, why })
    }

    fn obstacle(&self, offer: &Offer) -> Option<String> {
        if let Some(option) = self.options.owners.given() {
            return Some(format!("the kernel engine does not map owners ({option})"));
        }
        if let (true, Some(Upper { upper, .. })) = (self.upper_in_use, &self.upper) {
            return Some(format!(
                "upper {} is in use by another mount, which the kernel takes no heed of",
                upper.display()
            ));
        }
        // The kernel would mount it without a word, and without the option.
        let needs_handles = |(key, value): &&(String, String)| {
            matches!(key.as_str(), "index" | "nfs_export") && value == "on"
        };
        if let (Some(image), Some((key, _))) =
            (self.images().next(), self.options.kernel.iter().find(needs_handles))
        {
            return Some(format!(
                "the kernel engine has no {key}=on with the layer {}, which gives out no file handles",
                image.spec
            ));
        }
        if let Err(refusal) = Plan::new(&self.request(false, false)) {
            return Some(refusal.to_string());
        }
        match offer {
            Offer::Nothing(why) => Some(why.clone()),
            Offer::Overlayfs { .. } => None,
        }
    }

    /// What the kernel engine is asked for. `userxattr`: whether this process can only make `user.` marks.
    pub(crate) fn request(&self, is_root: bool, userxattr: bool) -> Request {
        let flag = |on: bool, key: &str| on.then(|| (key.to_owned(), None));
        let flags =
            [flag(self.options.volatile, "volatile"), flag(userxattr || self.options.userxattr, "userxattr")];
        let keys = self.options.kernel.iter().map(|(key, value)| (key.clone(), Some(value.clone())));
        let mut images = 0;
        let mut layer = |lower: &Lower| match lower.plain() {
            Some(path) => overlay_kernel::Lower::Directory(path),
            None => {
                images += 1;
                overlay_kernel::Lower::Mount { index: images - 1, name: lower.spec.to_string() }
            }
        };
        Request {
            lowers: self.lowers.iter().map(&mut layer).collect(),
            data: self.data.iter().map(&mut layer).collect(),
            upper: self.upper.clone(),
            options: flags.into_iter().flatten().chain(keys).collect(),
            flags: self.flags(is_root),
            source: self.source(),
        }
    }

    /// The flags of the mount: root's has devices and set-user-ID programs unless told otherwise, since it may be
    /// the root of a system.
    pub(crate) fn flags(&self, is_root: bool) -> Flags {
        let flags = self.options.flags();
        Flags {
            read_only: self.upper.is_none() || flags.read_only,
            no_suid: !is_root || flags.no_suid,
            no_dev: !is_root || flags.no_dev,
            ..flags
        }
    }

    /// What stands as the source in `/proc/mounts`.
    pub(crate) fn source(&self) -> String {
        self.options.fsname.clone().unwrap_or_else(|| "overlay".into())
    }
}

/// What makes two layers the same.
#[derive(PartialEq)]
enum Identity<'a> {
    Inode(u64, u64),
    Spec(&'a LayerSpec),
}

impl Identity<'_> {
    fn directory(directory: &Directory) -> Option<Self> {
        match directory {
            Directory::Present { dev, ino } => Some(Self::Inode(*dev, *ino)),
            Directory::Absent | Directory::Other | Directory::Unreachable(_) => None,
        }
    }
}

fn admit<'a>(
    seen: &mut Vec<(String, Identity<'a>)>,
    name: String,
    identity: Option<Identity<'a>>,
) -> Result<()> {
    let Some(identity) = identity else { return Ok(()) };
    match seen.iter().find(|(_, other)| *other == identity) {
        Some((other, _)) if *other == name => Err(Failure::new(format!("{name} is given twice"))),
        Some((other, _)) => Err(Failure::new(format!("{other} and {name} are the same directory"))),
        None => {
            seen.push((name, identity));
            Ok(())
        }
    }
}

/// The device and inode of a directory that must be there.
fn present(role: &str, name: &str, directory: &Directory) -> Result<(u64, u64)> {
    match directory {
        Directory::Present { dev, ino } => Ok((*dev, *ino)),
        Directory::Absent => Err(Failure::new(format!("{role} {name} does not exist"))),
        Directory::Other => Err(Failure::new(format!("{role} {name} is not a directory"))),
        Directory::Unreachable(why) => Err(Failure::new(format!("{role} {name} cannot be reached: {why}"))),
    }
}

fn either(typed: Vec<Vec<u8>>, in_options: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>> {
    match (typed.is_empty(), in_options.is_empty()) {
        (true, true) => {
            Err(Failure::new("no lower layer is given; name one by --lower DIR or -o lowerdir=DIR"))
        }
        (false, false) => {
            Err(Failure::new("lower layers are given both by --lower and in -o; use one of them"))
        }
        (true, false) => Ok(in_options),
        (false, true) => Ok(typed),
    }
}

fn one(role: &str, typed: Option<PathBuf>, in_options: Option<Vec<u8>>) -> Result<Option<PathBuf>> {
    let path = match (typed, in_options.map(|bytes| PathBuf::from(OsString::from_vec(bytes)))) {
        (Some(_), Some(_)) => {
            return Err(Failure::new(format!("{role} is given both by --{role} and in -o; use one of them")));
        }
        (typed, in_options) => typed.or(in_options),
    };
    path.map(|path| local(role, &path)).transpose()
}

/// An upper or a work: a directory of this machine, by its path or as `dir://`.
fn local(role: &str, path: &Path) -> Result<PathBuf> {
    let spec = LayerSpec::parse(path.as_os_str().as_bytes())
        .map_err(|error| Failure::new(format!("{role}: {}", Failure::from(error))))?;
    let none = || Failure::new(format!("{role} must be a local directory, and {spec} is none"));
    spec.path().ok_or_else(none)
}

fn pair(upper: Option<PathBuf>, work: Option<PathBuf>) -> Result<Option<Upper>> {
    match (upper, work) {
        (None, None) => Ok(None),
        (Some(upper), Some(work)) => Ok(Some(Upper { upper, work })),
        (Some(upper), None) => {
            let upper = upper.display();
            let sentence = format!(
                "upper {upper} needs a work directory on the same file system: add --work DIR or workdir=DIR"
            );
            Err(Failure::new(sentence))
        }
        (None, Some(work)) => {
            let work = work.display();
            Err(Failure::new(format!("work {work} needs an upper: add --upper DIR or upperdir=DIR")))
        }
    }
}

fn lowers(names: &[Vec<u8>], default: Markers) -> Result<Vec<Lower>> {
    names.iter().map(|name| lower(name, default)).collect()
}

fn lower(name: &[u8], default: Markers) -> Result<Lower> {
    let mut spec = LayerSpec::parse(name).map_err(|error| {
        let name = OsStr::from_bytes(name).to_string_lossy();
        // Options may hold what nobody else should read.
        let shown = name.split('?').next().unwrap_or_default();
        Failure::new(format!("lower layer \"{shown}\": {}", Failure::from(error)))
    })?;
    let markers = match spec.take("markers") {
        None => default,
        Some(value) => Markers::parse(&value)?,
    };
    Ok(Lower { spec, oci: markers == Markers::Oci, too_deep: false })
}
