//! What is compared: ways to mount the same tree.

use std::env;
use std::path::Path;

use crate::args::{E2e, Stack};
use crate::failure::Failure;

/// One way to mount the tree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) program: Program,
    /// Whether the lowest layer is in an object store.
    pub(crate) remote: bool,
}

/// What mounts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// Nothing: the tree is a plain directory.
    Bare,
    /// mount(8), with these options after the layers.
    Mount8(&'static str),
    /// `overlay mount`, with this engine.
    Ours(&'static str),
    FuseOverlayfs,
}

const LOCAL: &[Subject] = &[
    local("bare", "a plain directory", Program::Bare),
    local("kernel", "mount -t overlay", Program::Mount8("")),
    local("kernel-again", "the same once more: what no difference looks like", Program::Mount8("")),
    local("ours-kernel", "overlay mount --engine kernel", Program::Ours("kernel")),
    local("kernel-volatile", "mount -t overlay -o volatile", Program::Mount8(",volatile")),
    local("ours-fuse", "overlay mount --engine fuse", Program::Ours("fuse")),
    local("fuse-overlayfs", "fuse-overlayfs, where it is found", Program::FuseOverlayfs),
];

const S3: &[Subject] = &[
    local("local", "overlay mount --engine kernel, two local lowers", Program::Ours("kernel")),
    local("local-again", "the same once more: what no difference looks like", Program::Ours("kernel")),
    remote("s3-kernel", "the same with the second lower in S3", Program::Ours("kernel")),
    local("local-fuse", "overlay mount --engine fuse, two local lowers", Program::Ours("fuse")),
    remote("s3-fuse", "the same with the second lower in S3", Program::Ours("fuse")),
];

const fn local(name: &'static str, what: &'static str, program: Program) -> Subject {
    Subject { name, what, program, remote: false }
}

const fn remote(name: &'static str, what: &'static str, program: Program) -> Subject {
    Subject { name, what, program, remote: true }
}

/// The subjects of a stack.
pub(crate) fn all(stack: Stack) -> &'static [Subject] {
    match stack {
        Stack::Local => LOCAL,
        Stack::S3 => S3,
    }
}

/// The subject that the others are compared with.
pub(crate) fn base(args: &E2e) -> &str {
    args.base.as_deref().unwrap_or(match args.stack {
        Stack::Local => "kernel",
        Stack::S3 => "local",
    })
}

/// The wanted subjects that this machine can run; says of the others why not.
pub(crate) fn chosen(args: &E2e) -> Result<Vec<Subject>, Failure> {
    let known = all(args.stack);
    let named = |name: &str| known.iter().any(|subject| subject.name == name);
    if let Some(name) = args.only.iter().map(String::as_str).chain([base(args)]).find(|name| !named(name)) {
        return Err(Failure(format!("there is no subject {name}; --list names them")));
    }
    let wanted = |subject: &&Subject| {
        args.only.is_empty()
            || subject.name == base(args)
            || args.only.iter().any(|name| name == subject.name)
    };
    let subjects: Vec<_> = known.iter().filter(wanted).copied().filter(|s| is_possible(s, args)).collect();
    if subjects.iter().any(|subject| subject.name == base(args)) {
        return Ok(subjects);
    }
    Err(Failure(format!("the base {} cannot run here, so there is nothing to compare with", base(args))))
}

fn is_possible(subject: &Subject, args: &E2e) -> bool {
    let why = missing(subject.program, &args.overlay);
    if let Some(why) = &why {
        eprintln!("Skipped {}: {why}.", subject.name);
    }
    why.is_none()
}

fn missing(program: Program, overlay: &Path) -> Option<String> {
    let root = rustix::process::geteuid().is_root();
    match program {
        Program::Bare => None,
        Program::Ours(_) if !overlay.is_file() => Some(format!(
            "there is no {}; `cargo build --release -p overlay-cli` makes it",
            overlay.display()
        )),
        Program::Mount8(_) | Program::Ours("kernel") if !root => Some("it needs root".into()),
        Program::FuseOverlayfs if !in_path("fuse-overlayfs") => Some("it is not in PATH".into()),
        Program::Mount8(_) | Program::Ours(_) | Program::FuseOverlayfs => None,
    }
}

fn in_path(program: &str) -> bool {
    env::split_paths(&env::var_os("PATH").unwrap_or_default()).any(|dir| dir.join(program).is_file())
}
