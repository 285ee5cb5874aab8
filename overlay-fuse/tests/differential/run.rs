//! A sequence of steps on both mounts, compared after each.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use overlay_core::overlay::{OverlayOptions, RedirectDir};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};

use super::allowed::allowed;
use super::common::{Union, names};
use super::lowers::{Build, build, has_xattr_whiteouts, stamp};
use super::op::{Op, Step};
use super::side::{Side, Sort, show_bytes, xattr_value};
use super::tree::{Age, Tree, differences, tree};

/// What a run did, up to its end or the first difference.
pub struct Run {
    pub steps: Vec<Step>,
    pub failure: Option<String>,
}

/// The features that both sides run with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Features {
    /// None.
    Off,
    /// Directories with lower content can be renamed, and files copied up without their data.
    On,
    /// The same, and the names of a lower file stay together.
    Index,
}

impl Features {
    fn of_kernel(self) -> &'static str {
        match self {
            Self::Off => "redirect_dir=off,index=off,metacopy=off",
            Self::On => "redirect_dir=on,index=off,metacopy=on",
            Self::Index => "redirect_dir=on,index=on,metacopy=on",
        }
    }

    fn of_ours(self) -> OverlayOptions {
        let (redirect_dir, metacopy) = match self {
            Self::Off => (RedirectDir::Off, false),
            Self::On | Self::Index => (RedirectDir::On, true),
        };
        let index = self == Self::Index;
        OverlayOptions {
            index,
            creates_as: Some((0, 0)),
            redirect_dir,
            metacopy,
            ..OverlayOptions::default()
        }
    }
}

/// The kernel's overlayfs, mounted.
struct Kernel {
    target: PathBuf,
}

impl Kernel {
    fn mount(dir: &Path, lowers: usize, features: Features) -> Self {
        let at = |name: &str| dir.join(name).display().to_string();
        let lower = (0..lowers).map(|i| at(&format!("l{i}"))).collect::<Vec<_>>().join(":");
        let options = format!(
            "lowerdir={lower},upperdir={},workdir={},{},xino=off",
            at("kupper"),
            at("kwork"),
            features.of_kernel()
        );
        let options = CString::new(options).unwrap();
        let target = dir.join("kmnt");
        let mount =
            || rustix::mount::mount("overlay", &target, "overlay", MountFlags::empty(), options.as_c_str());
        // With an index the kernel takes the upper for itself. Somebody's mount namespace, made just then, may hold the mount
        // before for a moment.
        let mut patience = 400;
        while let Err(errno) = mount() {
            assert!(errno == Errno::BUSY && patience > 0, "mount {}: {errno}", options.to_string_lossy());
            patience -= 1;
            std::thread::sleep(Duration::from_millis(25));
        }
        Self { target }
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        rustix::mount::unmount(&self.target, UnmountFlags::DETACH).unwrap();
    }
}

/// Both mounts over the same lowers.
struct Pair {
    // In this order: handles keep mounts busy.
    kernel_side: Side,
    our_side: Side,
    kernel: Option<Kernel>,
    union: Union,
    lowers: usize,
    features: Features,
    xattr_whiteouts: bool,
    /// A difference that is allowed has made the trees differ.
    parted: bool,
}

impl Pair {
    fn new(features: Features, lowers: &[Vec<Build>]) -> Self {
        let mut union = Union::new(lowers.len());
        union.options = features.of_ours();
        for name in ["kupper", "kwork", "kmnt"] {
            fs::create_dir(union.at(name)).unwrap();
        }
        for (index, layer) in lowers.iter().enumerate() {
            build(&union.at(&format!("l{index}")), layer);
        }
        for name in ["upper", "kupper"] {
            fs::set_permissions(union.at(name), fs::Permissions::from_mode(0o777)).unwrap();
            stamp(&union.at(name), 400_000_000);
        }
        let recent = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64 - 60;
        let kernel = Some(Kernel::mount(union.dir.path(), lowers.len(), features));
        union.mount();
        let kernel_side = Side::new(union.at("kmnt"), Sort::Kernel, recent);
        let our_side = Side::new(union.at("mnt"), Sort::Ours, recent);
        Self {
            kernel_side,
            our_side,
            kernel,
            union,
            lowers: lowers.len(),
            features,
            xattr_whiteouts: has_xattr_whiteouts(lowers),
            parted: false,
        }
    }

    fn remount(&mut self) {
        self.unmount();
        self.mount();
    }

    fn unmount(&mut self) {
        self.kernel_side.close_all();
        self.our_side.close_all();
        self.kernel = None;
        self.union.unmount();
    }

    fn mount(&mut self) {
        self.kernel = Some(Kernel::mount(self.union.dir.path(), self.lowers, self.features));
        self.union.mount();
    }

    fn trees(&self) -> (Tree, Tree) {
        let mut trees = (self.kernel_side.tree(), self.our_side.tree());
        if self.features == Features::Index {
            // Which directories a file that goes to the index takes to the upper differs, see `allowed`.
            for facts in trees.0.values_mut().chain(trees.1.values_mut()) {
                facts.remove("merged");
            }
        }
        trees
    }

    fn layers(&self) -> Vec<Tree> {
        (0..self.lowers).map(|i| tree(&self.union.at(&format!("l{i}")), i64::MAX, Sort::Ours)).collect()
    }

    /// One step on both; what differs.
    fn step(&mut self, step: &Step) -> Option<String> {
        if matches!(step.op, Op::Remount) {
            self.remount();
            return self.compare(Age::Fresh, "after the remount");
        }
        let (kernel, ours) = (self.kernel_side.apply(step), self.our_side.apply(step));
        if kernel == ours {
            return None;
        }
        match allowed((self.xattr_whiteouts, self.features == Features::Index), step, &kernel, &ours) {
            None => Some(format!("kernel {kernel:?}\nours   {ours:?}")),
            Some(allowed) => {
                eprintln!("{step:?}: allowed: {}", allowed.reason);
                self.parted |= allowed.parts;
                // What is held open may not be the same any more.
                self.kernel_side.close_all();
                self.our_side.close_all();
                None
            }
        }
    }

    fn compare(&self, age: Age, when: &str) -> Option<String> {
        let (kernel, ours) = self.trees();
        unequal(&kernel, &ours, age, when)
    }

    /// Each mounts what the other wrote, and sees the same.
    fn swap(&mut self) -> Option<String> {
        let (before, _) = self.trees();
        self.unmount();
        let left = names(&self.union.at("work/work"));
        if !left.is_empty() {
            return Some(format!("left in work: {left:?}"));
        }
        let at = |name: &str| self.union.at(name);
        let (kernel, ours) = (marks(&at("kupper")), marks(&at("upper")));
        if let Some(path) = ours.keys().filter_map(|mark| mark.strip_suffix(" origin")).find(|path| {
            let above = at("upper").join(path).parent().unwrap().to_owned();
            xattr_value(&above, "trusted.overlay.impure").is_err()
        }) {
            return Some(format!("{path} is a copy in a directory that is not marked as impure"));
        }
        // A name of an indexed file is brought into the upper at other times.
        if kernel != ours && self.features != Features::Index {
            return Some(format!("the marks differ:\n  kernel {kernel:?}\n  ours   {ours:?}"));
        }
        for (one, other) in [("upper", "kupper"), ("work", "kwork")] {
            fs::rename(at(one), at("swap")).unwrap();
            fs::rename(at(other), at(one)).unwrap();
            fs::rename(at("swap"), at(other)).unwrap();
        }
        self.mount();
        let (kernel, ours) = self.trees();
        unequal(&before, &kernel, Age::Fresh, "as the kernel (second) sees our upper")
            .or_else(|| unequal(&before, &ours, Age::Fresh, "as we see the kernel's upper"))
    }
}

/// The marks in a layer that must be the same, byte for byte, by path.
fn marks(layer: &Path) -> BTreeMap<String, String> {
    let mut marks = BTreeMap::new();
    let mut todo = vec![layer.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            for key in ["redirect", "metacopy", "origin"] {
                if let Ok(value) = xattr_value(&path, &format!("trusted.overlay.{key}")) {
                    let name = path.strip_prefix(layer).unwrap().display();
                    marks.insert(format!("{name} {key}"), show_bytes(&value));
                }
            }
            if fs::symlink_metadata(&path).unwrap().is_dir() {
                todo.push(path);
            }
        }
    }
    marks
}

fn unequal(kernel: &Tree, ours: &Tree, age: Age, when: &str) -> Option<String> {
    let lines = differences(kernel, ours, age);
    if lines.is_empty() { None } else { Some(format!("the trees differ {when}:\n  {}", lines.join("\n  "))) }
}

/// Runs steps until `next`, which is told the paths that exist, has no more. Trees are compared after every
/// `every`th step.
pub fn run(
    features: Features,
    lowers: &[Vec<Build>],
    every: usize,
    mut next: impl FnMut(&[String]) -> Option<Step>,
) -> Run {
    let mut pair = Pair::new(features, lowers);
    let before = pair.layers();
    let mut steps = Vec::new();
    let mut known: Vec<String> = pair.trees().0.into_keys().filter(|path| path != "/").collect();
    let mut failure = pair.compare(Age::Fresh, "at first");
    while failure.is_none() {
        let Some(step) = next(&known) else { break };
        steps.push(step.clone());
        failure = pair.step(&step);
        if pair.parted {
            pair.unmount();
            return Run { steps, failure };
        }
        if failure.is_none() && steps.len() % every == 0 {
            let (kernel, ours) = pair.trees();
            failure = unequal(&kernel, &ours, Age::Used, "after the step");
            known = kernel.into_keys().filter(|path| path != "/").collect();
        }
    }
    let failure = failure.or_else(|| pair.compare(Age::Used, "at the end")).or_else(|| pair.swap());
    let failure = failure.or_else(|| {
        let after = pair.layers();
        before.iter().zip(&after).find_map(|(before, after)| unequal(before, after, Age::Fresh, "in a lower"))
    });
    pair.unmount();
    Run { steps, failure }
}
