//! The plans: how a name is made, removed or renamed in the upper layer, so that one step commits it.

use crate::error::Kind as ErrorKind;
use crate::layer::Rename;

/// What the upper layer itself holds under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upper {
    /// Nothing.
    Absent,
    /// A whiteout.
    Whiteout,
    /// Anything but a directory.
    Other,
    /// A directory; `bare` if there is nothing in it, not even whiteouts.
    Dir {
        /// Nothing is in it.
        bare: bool,
    },
}

/// How a new object gets its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creation {
    /// The name is free.
    Free,
    /// A whiteout stands there and is replaced. A directory must be opaque, so that what the whiteout hid stays
    /// hidden.
    OverWhiteout,
}

/// The plan of a creation, or the error if the name is taken. `exists` is whether the union shows the name.
pub fn creation(upper: Upper, exists: bool) -> Result<Creation, ErrorKind> {
    match (upper, exists) {
        (_, true) => Err(ErrorKind::Exists),
        (Upper::Whiteout, false) => Ok(Creation::OverWhiteout),
        (Upper::Absent, false) => Ok(Creation::Free),
        // An object of the upper that the union does not show: the layer changed behind our back.
        (Upper::Other | Upper::Dir { .. }, false) => Err(ErrorKind::Stale),
    }
}

/// How an object is removed. The one step named is the commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Unlink the upper's object.
    Unlink,
    /// Remove the upper's empty directory.
    Rmdir,
    /// Move the upper's directory, which holds only whiteouts, into work; then empty it.
    Discard,
    /// Make a whiteout under the name.
    Whiteout,
    /// Rename a whiteout from work over the upper's object.
    Replace,
    /// Exchange the upper's directory with a whiteout from work; then empty it.
    Exchange,
}

/// The plan of removing a name that the union shows. `below` is whether a lower layer would show through.
pub fn removal(upper: Upper, below: bool) -> Removal {
    match (upper, below) {
        (Upper::Other, false) => Removal::Unlink,
        (Upper::Dir { bare: true }, false) => Removal::Rmdir,
        (Upper::Dir { bare: false }, false) => Removal::Discard,
        (Upper::Other, true) => Removal::Replace,
        (Upper::Dir { .. }, true) => Removal::Exchange,
        (Upper::Absent | Upper::Whiteout, _) => Removal::Whiteout,
    }
}

/// What `renameat2` was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenameMode {
    /// Replace the target if it exists.
    Replace,
    /// Fail if the target exists.
    NoReplace,
    /// Swap the two.
    Exchange,
}

/// One end of a rename.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// What the union shows: `None` if nothing, else whether it is a directory.
    pub shown: Option<ShownAs>,
    /// What the upper holds. What moves has been copied up unless it is a directory that merges and cannot move.
    pub upper: Upper,
    /// Whether a lower layer has the name (so that it would show through without the upper).
    pub below: bool,
}

/// An object as the union shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShownAs {
    /// Anything but a directory.
    Other,
    /// A directory that is wholly in the upper; `empty` if the union shows nothing in it.
    PureDir {
        /// The union shows nothing in it.
        empty: bool,
    },
    /// A directory with content of a lower.
    MergedDir {
        /// The union shows nothing in it.
        empty: bool,
    },
}

impl ShownAs {
    fn is_dir(self) -> bool {
        self != Self::Other
    }

    fn is_pure_dir(self) -> bool {
        matches!(self, Self::PureDir { .. })
    }

    fn is_merged_dir(self) -> bool {
        matches!(self, Self::MergedDir { .. })
    }

    fn is_empty(self) -> bool {
        matches!(self, Self::Other | Self::PureDir { empty: true } | Self::MergedDir { empty: true })
    }
}

/// The steps of a rename in their order; `how` is the commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RenamePlan {
    /// Mark the source directory opaque: at its new place something of a lower would merge with it.
    pub opaque_source: bool,
    /// The same for the target of an exchange.
    pub opaque_target: bool,
    /// Mark the source directory with what it is called in the layers below, which stay where they are.
    pub redirect_source: bool,
    /// The same for the target of an exchange.
    pub redirect_target: bool,
    /// The target directory holds whiteouts only: put a bare one in its place.
    pub clear_target: bool,
    /// The atomic step.
    pub how: Rename,
    /// The exchange left a whiteout at the source that hides nothing: remove it.
    pub sweep_source: bool,
}

/// The plan of a rename, or the error it fails with.
///
/// A directory that has content in a lower moves by a redirect. Without `redirects` it cannot: `CrossDevice`, on which
/// programs copy.
pub fn rename(mode: RenameMode, source: End, target: End, redirects: bool) -> Result<RenamePlan, ErrorKind> {
    let from = source.shown.ok_or(ErrorKind::NotFound)?;
    match (mode, target.shown) {
        (RenameMode::NoReplace, Some(_)) => return Err(ErrorKind::Exists),
        (RenameMode::Exchange, None) => return Err(ErrorKind::NotFound),
        (RenameMode::Exchange, Some(to)) => return exchange((from, source), (to, target), redirects),
        _ => {}
    }
    match target.shown {
        Some(to) if from.is_dir() && !to.is_dir() => return Err(ErrorKind::NotDir),
        Some(to) if !from.is_dir() && to.is_dir() => return Err(ErrorKind::IsDir),
        _ => {}
    }
    movable(from, redirects)?;
    if target.shown.is_some_and(|to| !to.is_empty()) {
        return Err(ErrorKind::NotEmpty);
    }
    // A directory cannot be renamed over a whiteout, which is a file; swapping them leaves it where one is wanted.
    let swap = from.is_dir() && target.upper == Upper::Whiteout;
    let how = match (swap, source.below) {
        (true, _) => Rename::Exchange,
        (false, true) => Rename::Whiteout,
        (false, false) => Rename::Replace,
    };
    Ok(RenamePlan {
        opaque_source: from.is_pure_dir() && target.below,
        opaque_target: false,
        redirect_source: from.is_merged_dir(),
        redirect_target: false,
        clear_target: target.upper == Upper::Dir { bare: false },
        how,
        sweep_source: swap && !source.below,
    })
}

fn exchange(
    (from, source): (ShownAs, End),
    (to, target): (ShownAs, End),
    redirects: bool,
) -> Result<RenamePlan, ErrorKind> {
    movable(from, redirects)?;
    movable(to, redirects)?;
    Ok(RenamePlan {
        opaque_source: from.is_pure_dir() && target.below,
        opaque_target: to.is_pure_dir() && source.below,
        redirect_source: from.is_merged_dir(),
        redirect_target: to.is_merged_dir(),
        clear_target: false,
        how: Rename::Exchange,
        sweep_source: false,
    })
}

fn movable(shown: ShownAs, redirects: bool) -> Result<(), ErrorKind> {
    if shown.is_merged_dir() && !redirects { Err(ErrorKind::CrossDevice) } else { Ok(()) }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
