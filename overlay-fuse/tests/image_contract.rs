//! A layer that is served as an image and read back from the mount, as a directory, is the layer that it was: every
//! promise of the contract, by way of the kernel.
#![allow(clippy::unwrap_used, reason = "in a test a failure is a panic")]

use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

use overlay_core::conformance::{Capabilities, Tree, layer_suite};
use overlay_core::local::{LocalLayer, LocalOptions};
use overlay_core::marker::kernel::Namespace;
use overlay_core::{Layer, Result};
use overlay_fuse::{Image, ImageOptions};

/// The layer and, where this machine can mount, its image.
async fn make(tree: &Tree) -> Result<(Arc<dyn Layer>, Option<Image>)> {
    let layer: Arc<dyn Layer> = Arc::new(tree.to_memory("served")?);
    if !can_mount() {
        return Ok((layer, None));
    }
    let options = ImageOptions { namespace: Namespace::Trusted, threads: 2 };
    let image = Image::serve(layer, &options, tokio::runtime::Handle::current()).await.unwrap();
    let path = format!("/proc/self/fd/{}", image.as_fd().as_raw_fd());
    let read_back = LocalLayer::open(path.as_ref(), &LocalOptions::new(Namespace::Trusted))?;
    Ok((Arc::new(read_back), Some(image)))
}

fn can_mount() -> bool {
    let fuse = std::fs::OpenOptions::new().read(true).write(true).open("/dev/fuse").is_ok();
    let can = fuse && rustix::process::geteuid().is_root();
    if !can {
        eprintln!("SKIPPED image_contract: it needs root and /dev/fuse");
    }
    can
}

layer_suite!(image, make, Capabilities::ALL);
