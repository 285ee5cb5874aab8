//! A whole tree as plain data, to compare.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::side::{Sort, show_bytes, xattr_list, xattr_value};

/// Path (directories end in `/`) to what is there, one fact per entry.
pub type Tree = BTreeMap<String, BTreeMap<&'static str, String>>;

/// Everything below `root`. Times from `recent` on are called `now`.
pub fn tree(root: &Path, recent: i64, sort: Sort) -> Tree {
    let mut tree = Tree::new();
    walk(root, "", recent, sort, &mut tree);
    tree
}

fn walk(path: &Path, name: &str, recent: i64, sort: Sort, tree: &mut Tree) {
    let mut facts = match facts(path, recent) {
        Ok(facts) => facts,
        Err(error) => BTreeMap::from([("error", error.to_string())]),
    };
    if facts.get("kind").map(String::as_str) != Some("dir") {
        tree.insert(name.to_owned(), facts);
        return;
    }
    let entries: Result<Vec<_>, _> = fs::read_dir(path).and_then(Iterator::collect);
    let mut names = Vec::new();
    match entries {
        Err(error) => drop(facts.insert("error", error.to_string())),
        Ok(entries) => {
            for entry in entries {
                let found = fs::symlink_metadata(entry.path());
                if sort == Sort::Kernel && found.is_err_and(|error| error.kind() == ErrorKind::NotFound) {
                    continue;
                }
                let kind = entry.file_type().map_or_else(|e| e.to_string(), |kind| show_kind(kind).into());
                names.push((entry.file_name(), kind));
            }
        }
    }
    names.sort();
    facts.insert("names", format!("{names:?}"));
    tree.insert(format!("{name}/"), facts);
    let prefix = if name.is_empty() { String::new() } else { format!("{name}/") };
    for (child, _) in names {
        walk(&path.join(&child), &format!("{prefix}{}", child.to_string_lossy()), recent, sort, tree);
    }
}

pub fn show_kind(kind: fs::FileType) -> &'static str {
    match kind {
        kind if kind.is_dir() => "dir",
        kind if kind.is_file() => "file",
        kind if kind.is_symlink() => "symlink",
        kind if kind.is_fifo() => "fifo",
        kind if kind.is_char_device() => "char",
        kind if kind.is_block_device() => "block",
        _ => "other",
    }
}

fn facts(path: &Path, recent: i64) -> std::io::Result<BTreeMap<&'static str, String>> {
    let meta = fs::symlink_metadata(path)?;
    let mut facts = attributes(&meta, recent);
    if meta.is_symlink() {
        facts.insert("target", show_bytes(fs::read_link(path)?.as_os_str().as_bytes()));
    }
    if meta.is_file() {
        facts.insert("content", show_bytes(&fs::read(path)?));
    }
    let mut xattrs = Vec::new();
    for key in xattr_list(path)? {
        let value = xattr_value(path, &key)?;
        xattrs.push(format!("{key}={}", show_bytes(&value)));
    }
    facts.insert("xattrs", xattrs.join(" "));
    Ok(facts)
}

/// What `stat` says, as far as it can be compared.
pub fn attributes(meta: &fs::Metadata, recent: i64) -> BTreeMap<&'static str, String> {
    let mut facts = BTreeMap::new();
    facts.insert("kind", show_kind(meta.file_type()).into());
    facts.insert("mode", format!("{:o}", meta.mode() & 0o7777));
    facts.insert("owner", format!("{}:{}", meta.uid(), meta.gid()));
    let now = meta.mtime() >= recent;
    facts.insert("mtime", if now { "now".into() } else { format!("{}.{}", meta.mtime(), meta.mtime_nsec()) });
    if !meta.is_dir() {
        facts.insert("size", meta.len().to_string());
        facts.insert("nlink", meta.nlink().to_string());
        facts.insert("rdev", meta.rdev().to_string());
    } else {
        facts.insert("merged", (meta.nlink() == 1).to_string());
    }
    facts
}

/// Whether the trees are read from mounts that have just been made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    Fresh,
    /// The kernel's FUSE client may hold the link count that a file or directory had before it was copied up.
    Used,
}

/// The facts that differ, one line each.
pub fn differences(kernel: &Tree, ours: &Tree, age: Age) -> Vec<String> {
    let mut lines = Vec::new();
    let paths: std::collections::BTreeSet<_> = kernel.keys().chain(ours.keys()).collect();
    for path in paths {
        match (kernel.get(path), ours.get(path)) {
            (Some(k), Some(o)) => {
                for fact in k.keys().chain(o.keys()).collect::<std::collections::BTreeSet<_>>() {
                    let (k, o) = (k.get(fact), o.get(fact));
                    let broken_link =
                        *fact == "nlink" && k.is_some_and(|count| count == "1") && age == Age::Used;
                    let merged = *fact == "merged" && age == Age::Used;
                    // What `allowed` says of a file that gets its data.
                    let opened = *fact == "mtime" && k.is_some_and(|time| time == "now");
                    if k != o && !broken_link && !merged && !opened {
                        lines.push(format!("{path}: {fact}: kernel {k:?}, ours {o:?}"));
                    }
                }
            }
            (Some(_), None) => lines.push(format!("{path}: only the kernel has it")),
            (None, _) => lines.push(format!("{path}: only ours has it")),
        }
    }
    lines
}
