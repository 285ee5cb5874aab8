//! The local-directory layers keep every promise of the contract.
#![allow(clippy::unwrap_used, reason = "in a test a failure is a panic")]

use std::path::Path;
use std::sync::Arc;

use overlay_core::conformance::{Capabilities, Tree, layer_suite, upper_suite};
use overlay_core::local::{LocalLayer, LocalOptions, LocalUpper};
use overlay_core::{Layer, Result, UpperLayer};
use tempfile::TempDir;

fn directories() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("upper")).unwrap();
    std::fs::create_dir(dir.path().join("work")).unwrap();
    dir
}

fn options(dir: &Path) -> Result<LocalOptions> {
    Ok(LocalOptions::new(LocalUpper::namespace(&dir.join("work"))?))
}

async fn upper() -> Result<(Arc<dyn UpperLayer>, TempDir)> {
    let dir = directories();
    let upper = LocalUpper::open(&dir.path().join("upper"), &dir.path().join("work"), &options(dir.path())?)?;
    Ok((Arc::new(upper), dir))
}

/// Fills a directory through the upper, then opens it as a lower.
async fn lower(tree: &Tree) -> Result<(Arc<dyn Layer>, TempDir)> {
    let (upper, dir) = upper().await?;
    tree.write_to(&upper.upper_root().await?).await?;
    let layer = LocalLayer::open(&dir.path().join("upper"), &options(dir.path())?)?;
    Ok((Arc::new(layer), dir))
}

fn capabilities() -> Capabilities {
    let root = rustix::process::geteuid().is_root();
    Capabilities { owners: root, devices: root, ..Capabilities::ALL }
}

layer_suite!(local_layer, lower, capabilities());
upper_suite!(local_upper, upper, capabilities());
