//! Random lower layers.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Timespec, Timestamps, XattrFlags, lgetxattr, lsetxattr, makedev, mknodat,
    utimensat,
};

use super::op::NAMES;
use super::rng::Rng;
use super::side::{value, xattr_value};

/// One object of a layer. Where its place is taken it is left out.
#[derive(Clone, Debug)]
pub enum Build {
    File {
        path: String,
        len: usize,
        mode: u32,
        owner: u32,
    },
    Dir {
        path: String,
        mode: u32,
        owner: u32,
        opaque: bool,
    },
    Symlink {
        path: String,
        target: String,
    },
    Fifo {
        path: String,
    },
    Null {
        path: String,
    },
    Whiteout {
        path: String,
    },
    /// A directory with whiteouts of the other kind: empty files with a mark.
    XattrWhiteout {
        dir: String,
        name: String,
    },
    Link {
        from: String,
        to: String,
    },
    /// A directory, or a file without its data, whose lower content lies elsewhere.
    Marked {
        path: String,
        dir: bool,
        redirect: Option<String>,
    },
    Xattr {
        path: String,
        key: &'static str,
        value: u8,
    },
}

/// What layers have more of than by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extra {
    Nothing,
    /// Objects with redirects that no overlay wrote.
    Marks,
    /// Files with several names.
    Links,
}

/// One to three layers.
pub fn lowers(rng: &mut Rng, extra: Extra) -> Vec<Vec<Build>> {
    let count = 1 + rng.below(3);
    let xattr_whiteouts = rng.chance(12);
    let mut layers: Vec<_> = (0..count).map(|_| layer(rng, xattr_whiteouts)).collect();
    for layer in &mut layers {
        match extra {
            Extra::Nothing => {}
            Extra::Marks => {
                for _ in 0..rng.below(3) {
                    let item = marked(rng);
                    layer.insert(rng.below(layer.len() + 1), item);
                }
            }
            Extra::Links => link(rng, layer),
        }
    }
    layers
}

fn link(rng: &mut Rng, layer: &mut Vec<Build>) {
    let files: Vec<_> = layer
        .iter()
        .filter_map(|item| match item {
            Build::File { path, .. } | Build::Symlink { path, .. } => Some(path.clone()),
            _ => None,
        })
        .collect();
    for _ in 0..if files.is_empty() { 0 } else { rng.below(6) } {
        let depth = 1 + rng.below(3);
        let to = (0..depth).map(|_| rng.pick(&NAMES)).collect::<Vec<_>>().join("/");
        layer.push(Build::Link { from: rng.pick(&files), to });
    }
}

fn marked(rng: &mut Rng) -> Build {
    let path = |rng: &mut Rng| {
        let depth = 1 + rng.below(3);
        (0..depth).map(|_| rng.pick(&NAMES)).collect::<Vec<_>>().join("/")
    };
    let redirect = match rng.below(10) {
        0 => None,
        1..5 => Some(rng.pick(&NAMES).to_owned()),
        5..9 => Some(format!("/{}", path(rng))),
        _ => Some(rng.pick(&["", "..", "a/b", "/", "//a", "/a/../b"]).to_owned()),
    };
    Build::Marked { path: path(rng), dir: rng.chance(60), redirect }
}

/// Whether a whiteout is a file with a mark.
pub fn has_xattr_whiteouts(lowers: &[Vec<Build>]) -> bool {
    lowers.iter().flatten().any(|item| matches!(item, Build::XattrWhiteout { .. }))
}

fn layer(rng: &mut Rng, xattr_whiteouts: bool) -> Vec<Build> {
    let mut built: Vec<Build> = Vec::new();
    let mut paths = Vec::new();
    for _ in 0..4 + rng.below(14) {
        let depth = 1 + rng.below(3);
        let path: String = (0..depth).map(|_| rng.pick(&NAMES)).collect::<Vec<_>>().join("/");
        let owner = rng.pick(&[0, 0, 1000]);
        built.push(match rng.below(20) {
            0..6 => Build::File {
                path: path.clone(),
                len: rng.pick(&[0, 1, 10, 4096, 10000]),
                mode: rng.pick(&[0o644, 0o600, 0o666, 0o4755, 0o6777, 0o755]),
                owner,
            },
            6..12 => Build::Dir {
                path: path.clone(),
                mode: rng.pick(&[0o755, 0o777, 0o700, 0o2777, 0o1777]),
                owner,
                opaque: rng.chance(15),
            },
            12 => Build::Symlink { path: path.clone(), target: rng.pick(&NAMES).into() },
            13 => Build::Fifo { path: path.clone() },
            14 => Build::Null { path: path.clone() },
            15 if xattr_whiteouts => {
                Build::XattrWhiteout { dir: path.clone(), name: rng.pick(&NAMES).into() }
            }
            15 | 16 => Build::Whiteout { path: path.clone() },
            17 if !paths.is_empty() => Build::Link { from: rng.pick(&paths), to: path.clone() },
            18 | 19 if !paths.is_empty() => Build::Xattr {
                path: rng.pick(&paths),
                key: rng.pick(&[
                    "user.a",
                    "trusted.t",
                    "security.s",
                    "system.posix_acl_access",
                    "system.posix_acl_default",
                ]),
                value: rng.below(6) as u8,
            },
            _ => continue,
        });
        paths.push(path);
    }
    built
}

/// Makes a layer in `root`, with times long past.
pub fn build(root: &Path, layer: &[Build]) {
    for item in layer {
        // Random places collide; whatever cannot be made is left out.
        drop(place(root, item));
    }
    age(root, &mut 0);
}

fn place(root: &Path, item: &Build) -> std::io::Result<()> {
    let at = |path: &str| {
        let full = root.join(path);
        if let Some(parent) = full.parent() {
            drop(fs::create_dir_all(parent));
        }
        full
    };
    let own = |path: &Path, owner: u32, mode: u32| {
        std::os::unix::fs::lchown(path, Some(owner), Some(owner))?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
    };
    match item {
        Build::File { path, len, mode, owner } => {
            let full = at(path);
            let content: Vec<u8> = path.bytes().cycle().take(*len).collect();
            fs::File::create_new(&full)?;
            fs::write(&full, content)?;
            own(&full, *owner, *mode)
        }
        Build::Dir { path, mode, owner, opaque } => {
            let full = at(path);
            fs::create_dir(&full)?;
            own(&full, *owner, *mode)?;
            if *opaque {
                lsetxattr(&full, "trusted.overlay.opaque", b"y", XattrFlags::empty())?;
            }
            Ok(())
        }
        Build::Symlink { path, target } => std::os::unix::fs::symlink(target, at(path)),
        Build::Fifo { path } => Ok(mknodat(CWD, at(path), FileType::Fifo, 0o644.into(), 0)?),
        Build::Null { path } => {
            Ok(mknodat(CWD, at(path), FileType::CharacterDevice, 0o666.into(), makedev(1, 3))?)
        }
        Build::Whiteout { path } => Ok(mknodat(CWD, at(path), FileType::CharacterDevice, 0.into(), 0)?),
        Build::XattrWhiteout { dir, name } => {
            let full = at(&format!("{dir}/{name}"));
            // An opaque directory stays one, and holds no such whiteouts.
            let (dir, mark) = (root.join(dir), "trusted.overlay.opaque");
            if lgetxattr(&dir, mark, &mut [0; 1]) == Ok(1) && xattr_value(&dir, mark)? == b"y" {
                return Ok(());
            }
            fs::File::create_new(&full)?;
            lsetxattr(&full, "trusted.overlay.whiteout", b"y", XattrFlags::empty())?;
            Ok(lsetxattr(&dir, mark, b"x", XattrFlags::empty())?)
        }
        Build::Marked { path, dir, redirect } => {
            let full = at(path);
            if *dir {
                fs::create_dir(&full)?;
            } else {
                // As long as any: past its length the kernel reads on in the data, and the FUSE client does not.
                fs::File::create_new(&full)?.set_len(10000)?;
                lsetxattr(&full, "trusted.overlay.metacopy", b"", XattrFlags::empty())?;
            }
            match redirect {
                Some(to) => {
                    Ok(lsetxattr(&full, "trusted.overlay.redirect", to.as_bytes(), XattrFlags::empty())?)
                }
                None => Ok(()),
            }
        }
        Build::Link { from, to } => fs::hard_link(root.join(from), at(to)),
        Build::Xattr { path, key, value: v } => {
            let full = root.join(path);
            // A whiteout with xattrs is none of the union's business.
            Ok(lsetxattr(&full, *key, &value(key, *v), XattrFlags::empty())?)
        }
    }
}

/// Gives every object times of its own, long past.
fn age(dir: &Path, count: &mut i64) {
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    for name in names {
        let path = dir.join(name);
        if fs::symlink_metadata(&path).unwrap().is_dir() {
            age(&path, count);
        }
        *count += 1;
        stamp(&path, 500_000_000 + *count);
    }
    stamp(dir, 500_000_000);
}

pub fn stamp(path: &Path, sec: i64) {
    let time = Timespec { tv_sec: sec, tv_nsec: 123_456_789 };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}
