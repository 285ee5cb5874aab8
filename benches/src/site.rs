//! Where the layers are: the lowers, made once, and an upper, a work and a mountpoint for each mount.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::args::{E2e, Stack};
use crate::failure::{Failure, Say};
use crate::mount;
use crate::objects::Objects;
use crate::scale::{self, Scale, TREE};
use crate::subject::{Program, Subject};

/// The directories of one mount.
pub(crate) struct Site {
    /// Removed when it is dropped, as the mount is gone.
    dir: TempDir,
    /// Directories or URLs, topmost first.
    pub(crate) lowers: Vec<String>,
    /// What a plain directory shows in place of a union.
    bare: Option<PathBuf>,
}

impl Site {
    pub(crate) fn upper(&self) -> PathBuf {
        self.dir.path().join("upper")
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    /// Where the tree is seen.
    pub(crate) fn merged(&self) -> PathBuf {
        self.bare.clone().unwrap_or_else(|| self.dir.path().join("merged"))
    }
}

/// All layers of a run, on one file system.
pub(crate) struct Ground {
    dir: TempDir,
    /// A copy of the tree for each subject.
    copies: Vec<Vec<PathBuf>>,
    objects: Option<Objects>,
}

impl Ground {
    pub(crate) fn new(args: &E2e, subjects: &[Subject]) -> Result<Self, Failure> {
        let base = args.dir.clone().unwrap_or_else(std::env::temp_dir);
        let dir = tempfile::Builder::new().prefix("overlay-benches-").tempdir_in(&base);
        let dir = dir.say(format!("make a directory in {}", base.display()))?;
        let scale = Scale::new(args.quick);
        let copy = |i| lowers(&dir.path().join(format!("lower{i}")), args.stack, scale);
        let copies = (0..subjects.len()).map(copy).collect::<io::Result<_>>().say("make the lowers")?;
        let objects = (args.stack == Stack::S3).then(|| Objects::serve(scale)).transpose()?;
        Ok(Self { dir, copies, objects })
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A lower with small files, to make the tar of.
    pub(crate) fn lower(&self) -> &Path {
        self.copies.first().and_then(|copy| copy.first()).map_or(self.dir.path(), PathBuf::as_path)
    }

    /// The credentials of the object store.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        self.objects.as_ref().map(Objects::environment).unwrap_or_default()
    }

    /// Fresh directories for a mount. The copies of the lower go around, since where a file happens to be on the
    /// disk and in memory is no merit of a subject.
    pub(crate) fn site(&self, subject: &Subject, turn: usize, writes: bool) -> Result<Site, Failure> {
        let dir = TempDir::new_in(self.dir.path()).say("make a directory for a mount")?;
        for name in ["upper", "work", "merged"] {
            fs::create_dir(dir.path().join(name)).say(format!("make {name}"))?;
        }
        let copy = &self.copies[turn % self.copies.len()];
        let mut lowers: Vec<_> = copy.iter().map(|path| path.display().to_string()).collect();
        if let Some(objects) = self.objects.as_ref().filter(|_| subject.remote) {
            lowers.truncate(1);
            lowers.push(objects.url());
        }
        let bare = (subject.program == Program::Bare).then(|| plain(&copy[0], &dir, writes)).transpose()?;
        Ok(Site { dir, lowers, bare })
    }
}

/// A plain directory: the lower itself, or a copy of what will be changed.
fn plain(lower: &Path, dir: &TempDir, writes: bool) -> Result<PathBuf, Failure> {
    if !writes {
        return Ok(lower.to_owned());
    }
    let merged = dir.path().join("merged");
    mount::run(Command::new("cp").arg("-a").arg(lower.join(TREE)).arg(&merged))?;
    Ok(merged)
}

/// The tree, as one lower or cut into two.
fn lowers(dir: &Path, stack: Stack, scale: Scale) -> io::Result<Vec<PathBuf>> {
    let (first, second) = (dir.join("1"), dir.join("2"));
    match stack {
        Stack::Local => scale::write_small(&first, scale, |_| true)?,
        Stack::S3 => {
            scale::write_small(&first, scale, is_of_first)?;
            scale::write_small(&second, scale, |i| !is_of_first(i))?;
            scale::write_big(&second, scale)?;
            return Ok(vec![first, second]);
        }
    }
    scale::write_big(&first, scale)?;
    Ok(vec![first])
}

/// Whether a small file is in the first of two lowers: every directory has files of both.
pub(crate) fn is_of_first(i: usize) -> bool {
    i.is_multiple_of(3)
}
