//! The suites over the reference layer, and proof that they notice what is wrong.

use std::sync::Arc;

use super::*;
use crate::error::Result;
use crate::layer::{Layer, UpperLayer};
use crate::memory::MemoryUpper;

async fn lower(tree: &Tree) -> Result<(Arc<dyn Layer>, ())> {
    Ok((Arc::new(tree.to_memory("memory")?), ()))
}

async fn written(tree: &Tree) -> Result<(Arc<dyn Layer>, ())> {
    let upper = MemoryUpper::new("written");
    tree.write_to(&upper.upper_root().await?).await?;
    Ok((Arc::new(upper), ()))
}

layer_suite!(memory_lower, lower);
layer_suite!(memory_with_little, lower, Capabilities::NONE);
layer_suite!(memory_upper_as_lower, written);
