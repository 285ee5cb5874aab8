//! Layers that this process serves to the kernel, which merges them.

use std::sync::Arc;

use overlay_core::local::LocalOptions;
use overlay_core::marker::kernel::Namespace;
use overlay_fuse::{Image, ImageError, ImageOptions, ImageServer};
use overlay_kernel::Mounted;
use tokio::runtime::Runtime;

use super::home::{self, Home};
use super::{Mount, Signals, Started, Unmount, Watched, lifeline, namespace, proof, runtime, threads};
use crate::failure::{Failure, Result};
use crate::kernel::{self, Locks};
use crate::plan::Intent;
use crate::process::{self, Invocation};
use crate::registry::Layers;

/// The servers of a union's layers.
pub(crate) struct ImageServers {
    servers: Vec<ImageServer>,
    /// The union.
    mounted: Mounted,
    /// Where it is, if this process is not.
    left: Option<home::Namespace>,
    _locks: Locks,
}

/// The images, not part of a union yet.
struct Ready {
    images: Vec<Image>,
    runtime: Runtime,
    signals: Signals,
}

/// Opens and serves the layers, and has the kernel mount the union.
pub(super) fn start(intent: &Intent, invocation: &Invocation, watched: Watched) -> Result<Started> {
    process::prepare();
    let namespace = namespace(intent)?;
    let (ready, home) = Home::find(watched, intent).apart(|| ready(intent, invocation, namespace))?;
    let Ready { images, runtime, signals } = ready?;
    let (mounted, locks) = kernel::mount(intent, namespace, &images, &invocation.runtime_directory())?;
    // Before the namespace is left, in which the mount is seen.
    let lifeline = lifeline(intent);
    let left = match home.leave() {
        Ok(left) => left,
        Err(failure) => {
            mounted.unmount()?;
            return Err(failure);
        }
    };
    // From here on the union alone keeps the images.
    let servers = images.into_iter().map(Image::into_server).collect();
    let servers = ImageServers { servers, mounted, left, _locks: locks };
    Ok(Started { mount: Mount::Images(servers), runtime, signals, lifeline })
}

fn ready(intent: &Intent, invocation: &Invocation, namespace: Namespace) -> Result<Ready> {
    let runtime = runtime()?;
    let mut signals = runtime.block_on(async { Signals::new() })?;
    let backed = intent.images().any(|lower| lower.spec.path().is_some());
    proof::copy_up_works(&runtime, namespace, &invocation.runtime_directory(), backed)?;
    let images = runtime.block_on(signals.unless_asked(open(intent, invocation, namespace, &runtime)))?;
    Ok(Ready { images, runtime, signals })
}

async fn open(
    intent: &Intent,
    invocation: &Invocation,
    namespace: Namespace,
    runtime: &Runtime,
) -> Result<Vec<Image>> {
    let variables = invocation.variables.iter().cloned();
    let layers = Layers::new(variables, process::user_and_group(), LocalOptions::new(namespace));
    let mut images = Vec::new();
    for lower in intent.images() {
        let layer = layers.open(lower).await?;
        let label: Arc<str> = layer.label().clone();
        let image = Image::serve(layer, &options(namespace), runtime.handle().clone()).await;
        images.push(image.map_err(|error| failed(error, &label))?);
    }
    Ok(images)
}

/// How images are served.
pub(super) fn options(namespace: Namespace) -> ImageOptions {
    ImageOptions { namespace, threads: threads() }
}

fn failed(error: ImageError, label: &str) -> Failure {
    match error {
        ImageError::Layer(error) => error.into(),
        ImageError::Mount(error) => {
            Failure::cannot(format_args!("serve layer {label}"), error).of_the_kernel()
        }
    }
}

impl ImageServers {
    pub(super) fn unmounter(&self) -> Unmount {
        Unmount::Kernel(self.mounted.clone(), self.left)
    }

    /// Waits until the union is gone.
    pub(super) fn wait(self) -> Result<()> {
        let mut ended = Ok(());
        for server in self.servers {
            let this = server.wait().map_err(Failure::from);
            ended = ended.and(this);
        }
        ended
    }
}
