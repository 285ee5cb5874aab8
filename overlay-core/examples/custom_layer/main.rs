//! Prints the tree of a layer type of one's own (`bundle.rs`), and checks the type by one line.
#![allow(unreachable_pub, reason = "the layer is written as a library would have it")]

mod bundle;

use std::sync::Arc;

use bundle::Bundle;
use bytes::Bytes;
use overlay_core::attr::Kind;
use overlay_core::conformance::block_on;
use overlay_core::{Dir, Layer, Result};

fn main() -> Result<()> {
    let files = [("motd", "Welcome\n"), ("etc/greeting", "hello\n"), ("etc/conf.d/colour", "blue\n")];
    let files = files.map(|(path, content)| (path.into(), Bytes::from_static(content.as_bytes())));
    let bundle = Bundle("bundle".into(), Arc::new(files.into()));
    block_on(async { print(bundle.root().await?).await })
}

async fn print(root: Arc<dyn Dir>) -> Result<()> {
    let mut todo = vec![(root, String::new())];
    while let Some((dir, path)) = todo.pop() {
        for row in dir.list().await? {
            println!("{path}/{}", row.name);
            if row.kind == Kind::Dir {
                todo.push((dir.dir(&row.name).await?, format!("{path}/{}", row.name)));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use overlay_core::conformance::{Capabilities, Tree, layer_suite};

    use super::*;

    async fn make(tree: &Tree) -> Result<(Arc<dyn Layer>, ())> {
        let files = tree.files().map(|(path, content)| (path.to_vec(), content)).collect();
        Ok((Arc::new(Bundle("bundle".into(), Arc::new(files))), ()))
    }

    // A capability is claimed by naming it: names here are bytes, so they need not be UTF-8.
    layer_suite!(bundle, make, Capabilities { non_utf8_names: true, ..Capabilities::NONE });
}
