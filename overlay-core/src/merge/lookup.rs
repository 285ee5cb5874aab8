//! The look-up fold: what the layers hold under one name, from the top down, becomes one object.
//!
//! The rules of the kernel's overlayfs: the first object found is the one seen. If it is a directory, directories
//! of the same name below merge with it until a whiteout, an opaque directory or anything that is no directory
//! ends the merge. If it is a file without its data, the first file below that has data lends it.
//!
//! A redirect changes what the layers below are asked for: another name, or a path from their roots. On the way along a
//! path every directory is subject to the same rules, so that a path ends where the union below would end it, too.

use super::redirect::{Part, Redirect};
use crate::error::Kind as ErrorKind;
use crate::name::Name;

/// What one layer holds under the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// Nothing.
    Absent,
    /// A mark that the name is deleted.
    Whiteout,
    /// A regular file with its data.
    File,
    /// A regular file whose data is below.
    Metacopy {
        /// Its redirect mark.
        redirect: Option<Vec<u8>>,
    },
    /// Anything else but a directory.
    Other,
    /// A directory, opaque or not.
    Dir {
        /// It hides what lies below.
        opaque: bool,
        /// Its redirect mark.
        redirect: Option<Vec<u8>>,
    },
}

/// What the fold wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Open the directory that was just found, and ask it for the next name of the path.
    Inside,
    /// Ask the next layer below: in its root if [`Fold::from_root`], else in the directory that merges with the parent.
    Below,
    /// The outcome is settled.
    Done,
}

/// The object that the layers make up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// No object; `whiteout` is whether a layer deletes the name, given with that layer.
    Absent {
        /// The layer whose whiteout ended the search.
        whiteout: Option<usize>,
    },
    /// The non-directory of these layers: the first lends the attributes, the last the data.
    Other(Vec<usize>),
    /// A file of these layers whose data none of them has. With a path, it may lie there in a data-only layer.
    Dataless(Vec<usize>, Option<Vec<Name>>),
    /// The directories of these layers, topmost first.
    Dir(Vec<usize>),
}

/// The fold. For each layer, topmost first: [`Fold::begin`], then the fact of each name that it asks for, until it says
/// `Below` or `Done`.
#[derive(Debug)]
pub struct Fold {
    follow: bool,
    path: Vec<Part>,
    absolute: bool,
    /// Names of the path after the one that is asked for. Counted from the end, which a redirect leaves alone.
    left: usize,
    last: bool,
    stop: bool,
    metacopy: bool,
    dirs: Vec<usize>,
    others: Vec<usize>,
    whiteout: Option<usize>,
}

impl Fold {
    /// A search for `name`. Without `follow` a redirect is an error: `NotPermitted`.
    pub fn new(name: &Name, follow: bool) -> Self {
        let (dirs, others, whiteout) = (Vec::new(), Vec::new(), None);
        let (absolute, last, stop, metacopy) = (false, false, false, false);
        let path = vec![Some(name.clone())];
        Self { follow, path, absolute, left: 0, last, stop, metacopy, dirs, others, whiteout }
    }

    /// Starts with a layer. `last`: there is none below, so that it does not matter what a mark says of it.
    pub fn begin(&mut self, last: bool) {
        self.left = self.path.len() - 1;
        self.last = last;
    }

    /// The name to ask for; `Access` where a redirect goes to `.` or `..`.
    pub fn name(&self) -> Result<&Name, ErrorKind> {
        self.path[self.path.len() - 1 - self.left].as_ref().ok_or(ErrorKind::Access)
    }

    /// Whether the layers below are asked from their roots.
    pub fn from_root(&self) -> bool {
        self.absolute
    }

    /// Whether a directory was found.
    pub fn is_dir(&self) -> bool {
        !self.dirs.is_empty()
    }

    /// Adds what `layer` holds under the name. An error is that of a mark which cannot be followed.
    pub fn add(&mut self, layer: usize, fact: Fact) -> Result<Next, ErrorKind> {
        let on_the_way = self.left > 0;
        match fact {
            Fact::Absent => Ok(self.below()),
            Fact::Dir { opaque, redirect } if on_the_way || !self.metacopy => {
                self.directory(layer, opaque, redirect)
            }
            Fact::File if !on_the_way && !self.is_dir() => {
                self.others.push(layer);
                self.metacopy = false;
                Ok(Next::Done)
            }
            Fact::Metacopy { redirect } if !on_the_way && !self.is_dir() => {
                self.others.push(layer);
                self.metacopy = true;
                self.redirect(redirect)?;
                Ok(self.below())
            }
            Fact::Other if !on_the_way && self.is_new() => {
                self.others.push(layer);
                Ok(Next::Done)
            }
            Fact::Whiteout if self.is_new() => {
                self.whiteout = Some(layer);
                Ok(Next::Done)
            }
            _ => Ok(Next::Done),
        }
    }

    /// The object.
    pub fn outcome(self) -> Outcome {
        if self.is_dir() {
            return Outcome::Dir(self.dirs);
        }
        match (self.others.is_empty(), self.metacopy) {
            (true, _) => Outcome::Absent { whiteout: self.whiteout },
            (false, false) => Outcome::Other(self.others),
            (false, true) => {
                let path = if self.absolute { self.path.into_iter().collect() } else { None };
                Outcome::Dataless(self.others, path)
            }
        }
    }

    fn directory(
        &mut self,
        layer: usize,
        opaque: bool,
        redirect: Option<Vec<u8>>,
    ) -> Result<Next, ErrorKind> {
        if self.left == 0 {
            self.dirs.push(layer);
        }
        if opaque && !self.last {
            self.stop = true;
        } else {
            self.redirect(redirect)?;
        }
        if self.left == 0 {
            return Ok(self.below());
        }
        self.left -= 1;
        Ok(Next::Inside)
    }

    /// From here on the layers are asked for what a mark says.
    fn redirect(&mut self, mark: Option<Vec<u8>>) -> Result<(), ErrorKind> {
        let Some(mark) = mark.filter(|_| !self.last) else { return Ok(()) };
        let at = self.path.len() - 1 - self.left;
        match Redirect::parse(&mark)? {
            _ if !self.follow => return Err(ErrorKind::NotPermitted),
            Redirect::Relative(name) => self.path[at] = name,
            Redirect::Absolute(path) => {
                self.path.splice(..=at, path);
                self.absolute = true;
                // An opaque ancestor hides what has its place below it, not what is called by name.
                self.stop = false;
            }
        }
        Ok(())
    }

    fn below(&self) -> Next {
        if self.stop { Next::Done } else { Next::Below }
    }

    fn is_new(&self) -> bool {
        !self.is_dir() && self.others.is_empty()
    }
}

#[cfg(test)]
#[path = "lookup_tests.rs"]
mod tests;
