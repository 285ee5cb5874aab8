//! One layer of any kind served read-only in the form that the kernel's overlayfs reads on disk, so that it can be a
//! lower of a union that the kernel merges.
//!
//! Whiteouts are 0:0 character devices and marks are xattrs, whatever the layer has them from. The mount has no place:
//! it is handed over as a descriptor, and its server ends when the last union that uses it is gone.

mod adapter;
mod disk;
mod files;
mod listings;
mod nodes;
mod reader;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use overlay_core::Layer;
use overlay_core::marker::kernel::Namespace;
use tokio::runtime::Handle;

use crate::mount::{MountError, MountFlags, MountOptions, detached};
use crate::session::{Served, serve};
use adapter::ImageAdapter;
use reader::Reader;

/// A layer that is served as an image on a mount without a place.
pub struct Image {
    /// The mount; the server cannot end before it is dropped.
    mount: OwnedFd,
    served: Served,
}

/// The end of an image's server.
pub struct ImageServer(Served);

/// How an image is served.
#[derive(Clone, Debug)]
pub struct ImageOptions {
    /// Where the union looks for marks.
    pub namespace: Namespace,
    /// Threads that take requests; at least 2, so that one that is held up stalls nobody.
    pub threads: usize,
}

impl Image {
    /// Serves `layer`. Operations that wait run on `runtime`, which must live as long as the image.
    ///
    /// # Errors
    /// What the layer says of its root, or the kernel of the mount.
    pub async fn serve(
        layer: Arc<dyn Layer>,
        options: &ImageOptions,
        runtime: Handle,
    ) -> Result<Self, ImageError> {
        let source = layer.label().to_string();
        let reader = Reader::new(layer, options.namespace).await?;
        let connection = detached(&MountOptions {
            source,
            flags: MountFlags { read_only: true, ..MountFlags::default() },
            // The union's checks come first; whoever passes them reads with the rights of who mounted it.
            allow_other: true,
            threads: options.threads,
        })?;
        let adapter = ImageAdapter::new(Arc::new(reader), runtime);
        let served = serve(adapter, &connection, options.threads)?;
        let placed = || MountError::Session(std::io::Error::other("the image is mounted somewhere"));
        let mount = connection.into_mount().ok_or_else(placed)?;
        Ok(Self { mount, served })
    }

    /// Lets go of the mount: from now on the unions that use it keep it, and the server ends with the last one.
    pub fn into_server(self) -> ImageServer {
        ImageServer(self.served)
    }
}

impl AsFd for Image {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.mount.as_fd()
    }
}

impl ImageServer {
    /// Waits until no union uses the image any more.
    pub fn wait(self) -> Result<(), MountError> {
        self.0.wait()
    }
}

/// Why a layer cannot be served as an image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The layer cannot be read.
    #[error(transparent)]
    Layer(#[from] overlay_core::Error),
    /// The kernel does not mount it.
    #[error(transparent)]
    Mount(#[from] MountError),
}
