//! The look-up fold: what the layers hold under one name, from the top down, becomes one object.
//!
//! The rules of the kernel's overlayfs: the first object found is the one seen. If it is a directory, directories
//! of the same name below merge with it until a whiteout, an opaque directory or anything that is no directory
//! ends the merge.

/// What one layer holds under the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// Nothing.
    Absent,
    /// A mark that the name is deleted.
    Whiteout,
    /// Anything but a directory.
    Other,
    /// A directory, opaque or not.
    Dir {
        /// It hides what lies below.
        opaque: bool,
    },
}

/// What the fold wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Ask the next layer below.
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
    /// The non-directory of this layer.
    Other(usize),
    /// The directories of these layers, topmost first.
    Dir(Vec<usize>),
}

/// The fold: give it the fact of each layer, topmost first, until it says `Done`.
#[derive(Debug, Default)]
pub struct Fold {
    dirs: Vec<usize>,
    other: Option<usize>,
    whiteout: Option<usize>,
}

impl Fold {
    /// Adds what `layer` holds.
    pub fn add(&mut self, layer: usize, fact: Fact) -> Next {
        match fact {
            Fact::Absent => return Next::Below,
            Fact::Dir { opaque } => {
                self.dirs.push(layer);
                return if opaque { Next::Done } else { Next::Below };
            }
            Fact::Other if self.dirs.is_empty() => self.other = Some(layer),
            Fact::Whiteout if self.dirs.is_empty() => self.whiteout = Some(layer),
            Fact::Other | Fact::Whiteout => {}
        }
        Next::Done
    }

    /// The object.
    pub fn outcome(self) -> Outcome {
        match (self.other, self.dirs.is_empty()) {
            (Some(layer), _) => Outcome::Other(layer),
            (None, false) => Outcome::Dir(self.dirs),
            (None, true) => Outcome::Absent { whiteout: self.whiteout },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACTS: [Fact; 5] =
        [Fact::Absent, Fact::Whiteout, Fact::Other, Fact::Dir { opaque: false }, Fact::Dir { opaque: true }];

    fn fold(facts: &[Fact]) -> Outcome {
        let mut fold = Fold::default();
        for (layer, fact) in facts.iter().enumerate() {
            if fold.add(layer, *fact) == Next::Done {
                break;
            }
        }
        fold.outcome()
    }

    /// The same rules, written the other way round: from the bottom up, each layer acting on what is below it.
    fn model(facts: &[Fact]) -> Outcome {
        let mut below = Outcome::Absent { whiteout: None };
        for (layer, fact) in facts.iter().enumerate().rev() {
            below = match (fact, below) {
                (Fact::Absent, below) => below,
                (Fact::Whiteout, _) => Outcome::Absent { whiteout: Some(layer) },
                (Fact::Other, _) => Outcome::Other(layer),
                (Fact::Dir { opaque: false }, Outcome::Dir(dirs)) => {
                    Outcome::Dir(std::iter::once(layer).chain(dirs).collect())
                }
                (Fact::Dir { .. }, _) => Outcome::Dir(vec![layer]),
            };
        }
        below
    }

    #[test]
    fn every_stack_of_up_to_five_layers_agrees_with_the_model() {
        let mut stacks = vec![Vec::new()];
        for _ in 0..5 {
            for stack in stacks.clone() {
                for fact in FACTS {
                    let mut taller = stack.clone();
                    taller.push(fact);
                    assert_eq!(fold(&taller), model(&taller), "{taller:?}");
                    stacks.push(taller);
                }
            }
            stacks.sort_by_key(Vec::len);
            stacks.dedup();
        }
    }
}
