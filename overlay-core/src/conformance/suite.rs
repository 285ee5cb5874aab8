//! Runs one promise against one freshly made layer.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use super::tree::{Capabilities, Tree};
use crate::error::Result;
use crate::layer::{Layer, UpperLayer};

/// Runs a future to its end on a runtime of its own, with threads, timers and sockets.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().expect("a runtime starts").block_on(future)
}

/// A layer under test and what it was filled with.
pub struct Subject<L: ?Sized> {
    /// The layer.
    pub layer: Arc<L>,
    /// Its content; empty for an upper.
    pub tree: Tree,
    /// What it can hold.
    pub can: Capabilities,
}

/// Makes a layer with the sample content and checks a promise on it.
pub fn check_layer<G>(
    promise: &str,
    can: Capabilities,
    make: impl AsyncFnOnce(&Tree) -> Result<(Arc<dyn Layer>, G)>,
    check: impl AsyncFnOnce(&Subject<dyn Layer>),
) {
    judge(promise, |label| {
        block_on(async move {
            let tree = Tree::sample(can);
            let (layer, _guard) = make(&tree).await.expect("the layer under test is made");
            *label = Some(layer.label().clone());
            check(&Subject { layer, tree, can }).await;
        });
    });
}

/// Makes an empty upper and checks a promise on it.
pub fn check_upper<G>(
    promise: &str,
    can: Capabilities,
    make: impl AsyncFnOnce() -> Result<(Arc<dyn UpperLayer>, G)>,
    check: impl AsyncFnOnce(&Subject<dyn UpperLayer>),
) {
    judge(promise, |label| {
        block_on(async move {
            let (layer, _guard) = make().await.expect("the upper under test is made");
            *label = Some(layer.label().clone());
            check(&Subject { layer, tree: Tree::new(), can }).await;
        });
    });
}

/// Lets a failure pass on after saying whose and which it is.
fn judge(promise: &str, run: impl FnOnce(&mut Option<Arc<str>>)) {
    let mut label = None;
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(&mut label))) {
        let label = label.unwrap_or_else(|| "that could not be made".into());
        eprintln!("the layer {label} breaks the promise `{promise}`");
        resume_unwind(panic);
    }
}

/// Asserts that a wrapper, whose implementations stand in `sources`, has every method of every trait of the contract: one
/// that it leaves to a default is lost without a word.
#[cfg(test)]
pub(crate) fn assert_forwards_everything(sources: &[&str], wrapper: &str) {
    let source = sources.concat();
    let (mut methods, mut body) = (0, None);
    for line in include_str!("../layer.rs").lines().map(str::trim_start) {
        let method = line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn "));
        if let Some(of_trait) = line.strip_prefix("pub trait ") {
            let of_trait = of_trait.split(':').next().unwrap_or_default();
            let (_, rest) = source.split_once(&format!(" {of_trait} for {wrapper}<")).expect(of_trait);
            body = rest.split("\nimpl").next();
        } else if line.starts_with("impl") {
            body = None;
        } else if let (Some(method), Some(body)) = (method, body) {
            let method = method.split('(').next().unwrap_or_default();
            assert!(body.contains(&format!("fn {method}(")), "{method}");
            methods += 1;
        }
    }
    assert!(methods > 40, "the contract has more than {methods} methods");
}
