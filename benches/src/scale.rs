//! The tree that every subject shows: how much of what, and where each file is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The directory of the small files, below the root.
pub(crate) const TREE: &str = "tree";
/// The large file, in the root.
pub(crate) const BIG: &str = "big";
/// A small file's bytes: most files of a source tree are below one page.
pub(crate) const SMALL_BYTES: usize = 3000;
const MIB: u64 = 1 << 20;

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    pub(crate) dirs: u64,
    pub(crate) files: u64,
    pub(crate) big_bytes: u64,
    pub(crate) written_bytes: u64,
}

impl Scale {
    pub(crate) fn new(quick: bool) -> Self {
        if quick {
            Self { dirs: 8, files: 400, big_bytes: 40 * MIB, written_bytes: 8 * MIB }
        } else {
            Self { dirs: 40, files: 2000, big_bytes: 200 * MIB, written_bytes: 64 * MIB }
        }
    }

    /// The small files' paths below the root.
    pub(crate) fn small(self) -> impl Iterator<Item = String> {
        (0..self.files).map(move |i| format!("{TREE}/d{:02}/f{i:04}", i % self.dirs))
    }

    /// The bytes of the small files.
    pub(crate) fn small_bytes(self) -> u64 {
        self.files * SMALL_BYTES as u64
    }

    /// The directories that chmod is given: a copy-up of each file syncs it, so a quarter is enough.
    pub(crate) fn changed_dirs(self, root: &Path) -> Vec<PathBuf> {
        (0..self.dirs / 4).map(|i| root.join(format!("{TREE}/d{i:02}"))).collect()
    }

    /// The files in [`Scale::changed_dirs`].
    pub(crate) fn changed_files(self) -> u64 {
        self.files / self.dirs * (self.dirs / 4)
    }
}

/// The content of a small file: no two are alike.
pub(crate) fn small_content(name: &str) -> Vec<u8> {
    name.bytes().chain([b'\n']).cycle().take(SMALL_BYTES).collect()
}

/// The content of the large file; no zeros, so that no layer may take it for a hole.
pub(crate) fn big_content(scale: Scale) -> Vec<u8> {
    (0..scale.big_bytes / 8).flat_map(|i| (i | 1 << 63).to_le_bytes()).collect()
}

/// Writes those of the small files that are wanted into a directory.
pub(crate) fn write_small(root: &Path, scale: Scale, wanted: impl Fn(usize) -> bool) -> io::Result<()> {
    for dir in 0..scale.dirs {
        fs::create_dir_all(root.join(format!("{TREE}/d{dir:02}")))?;
    }
    for (_, name) in scale.small().enumerate().filter(|(i, _)| wanted(*i)) {
        fs::write(root.join(&name), small_content(&name))?;
    }
    Ok(())
}

/// Writes the large file.
pub(crate) fn write_big(root: &Path, scale: Scale) -> io::Result<()> {
    fs::write(root.join(BIG), big_content(scale))
}
