//! What is done with a mount. A workload is one entry of the table.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::args::{E2e, Stack};
use crate::checks::{self, Check, EXTRACTED};
use crate::failure::{Failure, Say};
use crate::mount;
use crate::scale::{Scale, TREE};

/// One thing to do, and how to know that it was done.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) needs: Needs,
    pub(crate) act: Act,
    /// How often it is timed in a round; the quickest counts.
    pub(crate) passes: u32,
    pub(crate) check: Check,
}

/// The mount that it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// None: mounting is what is measured.
    Nothing,
    /// Any, with the caches warm.
    Warm,
    /// Any, with the caches of names and attributes dropped.
    Cold,
    /// A fresh one, as it is changed.
    Fresh,
}

/// What is timed.
#[derive(Clone, Copy)]
pub(crate) enum Act {
    Mount,
    Umount,
    /// A tool that a user runs on the root, with the tar at hand.
    Tool(fn(&Path, Scale, &Path) -> Command),
    /// A loop of `calls.rs`.
    Calls(&'static str),
}

const MOUNT: Workload = Workload {
    name: "mount",
    what: "the command that mounts",
    needs: Needs::Nothing,
    act: Act::Mount,
    passes: 5,
    check: checks::mounted,
};
const UMOUNT: Workload = Workload {
    name: "umount",
    what: "the command that unmounts",
    needs: Needs::Nothing,
    act: Act::Umount,
    passes: 5,
    check: checks::unmounted,
};
const FIND_COLD: Workload = Workload {
    name: "find-cold",
    what: "find -printf %s after drop_caches 2",
    needs: Needs::Cold,
    act: Act::Tool(find),
    passes: 3,
    check: checks::all_bytes,
};
const FIND_WARM: Workload = warm("find-warm", "find -printf %s", Act::Tool(find), checks::all_bytes);
const STAT: Workload = warm("stat", "stat of all small files", Act::Calls("stat"), checks::small_bytes);
const STAT_MISSING: Workload =
    warm("stat-missing", "stat of missing names", Act::Calls("stat-missing"), checks::all_missing);
const READ_SMALL: Workload =
    warm("read-small", "open, read, close of small files", Act::Calls("read-small"), checks::small_bytes);
const READ_BIG: Workload =
    warm("read-big", "sequential read of the large file", Act::Calls("read-big"), checks::big_bytes);
const UNTAR: Workload = fresh("untar", "tar x of the small files", Act::Tool(untar), checks::extracted);
const CREATE: Workload = fresh("create", "creation of empty files", Act::Calls("create"), checks::created);
const UNLINK: Workload = fresh("unlink", "unlink of upper files", Act::Calls("unlink"), checks::unlinked);
const RM: Workload = fresh("rm", "rm -r of the lower tree", Act::Tool(remove), checks::removed);
const WRITE: Workload = fresh("write", "4 KiB writes to an upper file", Act::Calls("write"), checks::written);
const CHMOD: Workload = fresh("chmod", "chmod -R of a quarter: copy-up", Act::Tool(change), checks::changed);

const LOCAL: &[Workload] = &[
    MOUNT,
    UMOUNT,
    FIND_COLD,
    FIND_WARM,
    STAT,
    STAT_MISSING,
    READ_SMALL,
    READ_BIG,
    UNTAR,
    CREATE,
    UNLINK,
    RM,
    WRITE,
    CHMOD,
];
const S3: &[Workload] = &[FIND_WARM, STAT, STAT_MISSING, READ_SMALL, READ_BIG];

const fn warm(name: &'static str, what: &'static str, act: Act, check: Check) -> Workload {
    Workload { name, what, needs: Needs::Warm, act, passes: 15, check }
}

const fn fresh(name: &'static str, what: &'static str, act: Act, check: Check) -> Workload {
    Workload { name, what, needs: Needs::Fresh, act, passes: 1, check }
}

/// The workloads of a stack.
pub(crate) fn all(stack: Stack) -> &'static [Workload] {
    match stack {
        Stack::Local => LOCAL,
        Stack::S3 => S3,
    }
}

/// The wanted workloads that may be run here; says of the others why not.
pub(crate) fn chosen(args: &E2e) -> Result<Vec<&'static Workload>, Failure> {
    let known = all(args.stack);
    if let Some(name) = args.workload.iter().find(|name| !known.iter().any(|w| w.name == **name)) {
        return Err(Failure(format!("there is no workload {name}; --list names them")));
    }
    let wanted = |w: &&Workload| args.workload.is_empty() || args.workload.iter().any(|name| name == w.name);
    Ok(known.iter().filter(wanted).filter(|w| is_possible(w)).collect())
}

fn is_possible(workload: &Workload) -> bool {
    let possible = workload.needs != Needs::Cold || rustix::process::geteuid().is_root();
    if !possible {
        eprintln!("Skipped {}: to drop caches it needs root.", workload.name);
    }
    possible
}

fn find(root: &Path, _: Scale, _: &Path) -> Command {
    let mut command = Command::new("find");
    command.arg(root).args(["-type", "f", "-printf", "%s\\n"]);
    command
}

fn untar(root: &Path, _: Scale, tar: &Path) -> Command {
    let mut command = Command::new("tar");
    command.arg("xf").arg(tar).arg("-C").arg(root).arg(format!("--one-top-level={EXTRACTED}"));
    command
}

fn remove(root: &Path, _: Scale, _: &Path) -> Command {
    let mut command = Command::new("rm");
    command.arg("-r").arg(root.join(TREE));
    command
}

fn change(root: &Path, scale: Scale, _: &Path) -> Command {
    let mut command = Command::new("chmod");
    command.args(["-R", "go="]).args(scale.changed_dirs(root));
    command
}

/// The small files as an archive in memory, if the machine has such a place.
pub(crate) fn archive(lower: &Path, otherwise: &Path) -> Result<tempfile::NamedTempFile, Failure> {
    let memory = Path::new("/dev/shm");
    let place = if fs::metadata(memory).is_ok() { memory } else { otherwise };
    let file = tempfile::Builder::new().suffix(".tar").tempfile_in(place).say("make a tar")?;
    mount::run(Command::new("tar").arg("cf").arg(file.path()).arg("-C").arg(lower).arg(TREE))?;
    Ok(file)
}
