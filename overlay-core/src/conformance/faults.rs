//! Layers that fail on demand: to prove that an error is never taken for absence, and what a crash leaves behind.

use std::sync::{Arc, Mutex, PoisonError};

use super::faulty::Faulty;
use crate::error::{Error, Kind, Result};
use crate::layer::{Layer, UpperLayer};
use crate::name::Name;

/// A call of a layer that is about to be made.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The method: `lookup`, `read_at`, `rename`.
    pub op: &'static str,
    /// The name that it concerns, if it takes one (a rename's source).
    pub name: Option<&'a Name>,
}

/// Decides which calls of the layers that it wraps fail, and counts all of them.
///
/// A call that fails does not reach the layer: nothing has happened. One `Faults` may wrap several layers; their calls
/// are then counted together. Clones are the same.
///
/// ```
/// # use std::sync::Arc;
/// use overlay_core::conformance::{Faults, Tree, block_on};
/// use overlay_core::error::Kind;
///
/// let faults = Faults::new();
/// let layer = faults.layer(Arc::new(Tree::new().file("a", "").to_memory("memory")?));
/// faults.fail_if(Kind::Io, |call| call.op == "list");
/// let root = block_on(layer.root())?;
/// assert_eq!(block_on(root.list()).unwrap_err().kind(), Kind::Io);
/// assert_eq!(faults.calls(), 2);
/// # Ok::<(), overlay_core::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    calls: u64,
    rule: Option<(Rule, Kind)>,
}

enum Rule {
    /// The call of this number.
    Nth(u64),
    /// The call of this number and all that follow.
    From(u64),
    /// All that match.
    If(Box<dyn Fn(Call<'_>) -> bool + Send>),
}

impl Faults {
    /// No faults yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The layer, subject to these faults.
    pub fn layer(&self, inner: Arc<dyn Layer>) -> Arc<dyn Layer> {
        Arc::new(Faulty { inner, faults: self.clone() })
    }

    /// The upper, subject to these faults.
    pub fn upper(&self, inner: Arc<dyn UpperLayer>) -> Arc<dyn UpperLayer> {
        Arc::new(Faulty { inner, faults: self.clone() })
    }

    /// How many calls have been made so far, those that failed included.
    pub fn calls(&self) -> u64 {
        self.with(|state| state.calls)
    }

    /// The `n`-th call from now (1 is the next) fails, and only it. Replaces the rule before.
    pub fn fail_nth(&self, n: u64, kind: Kind) {
        self.with(|state| state.rule = Some((Rule::Nth(state.calls + n), kind)));
    }

    /// The `n`-th call from now and all later ones fail, as if the machine had stopped there.
    pub fn fail_from(&self, n: u64, kind: Kind) {
        self.with(|state| state.rule = Some((Rule::From(state.calls + n), kind)));
    }

    /// Every call that `matches` fails. It is asked under a lock: it must not call the layer.
    pub fn fail_if(&self, kind: Kind, matches: impl Fn(Call<'_>) -> bool + Send + 'static) {
        self.with(|state| state.rule = Some((Rule::If(Box::new(matches)), kind)));
    }

    /// No call fails any more. The count goes on.
    pub fn clear(&self) {
        self.with(|state| state.rule = None);
    }

    /// Counts a call and lets it pass or fail.
    pub(super) fn pass(&self, op: &'static str, name: Option<&Name>) -> Result<()> {
        let failure = self.with(|state| {
            state.calls += 1;
            let (rule, kind) = state.rule.as_ref()?;
            let fails = match rule {
                Rule::Nth(n) => state.calls == *n,
                Rule::From(n) => state.calls >= *n,
                Rule::If(matches) => matches(Call { op, name }),
            };
            fails.then_some(*kind)
        });
        let Some(kind) = failure else { return Ok(()) };
        let error = Error::new(kind, op).because("a fault that a test asked for");
        Err(name.into_iter().fold(error, |error, name| error.at(name)))
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
