//! A union that needs this process: merged by it, or merged by the kernel out of layers that it serves.

mod home;
mod images;
mod proof;
mod signals;
mod union;

use overlay_fuse::Unmounter;
use tokio::runtime::Runtime;

pub(crate) use images::ImageServers;
pub(crate) use signals::Signals;
pub(crate) use union::{Union, namespace};

use crate::args::Wanted;
use crate::failure::{Failure, Result};
use crate::lifeline::Lifeline;
use crate::mounts;
use crate::plan::{Choice, Engine, Intent};
use crate::process::Invocation;

/// How long the end of a server waits for requests that nobody is interested in any more.
const SHUTDOWN: std::time::Duration = std::time::Duration::from_secs(2);

/// Whether somebody watches the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watched {
    /// It runs in a terminal, say.
    Foreground,
    /// It was left alone.
    Background,
}

/// A union that is mounted and served.
pub(crate) struct Server {
    mount: Mount,
    signals: Option<Signals>,
    runtime: Runtime,
    lifeline: Option<Lifeline>,
}

/// What is served.
enum Mount {
    Union(Union),
    Images(ImageServers),
}

/// A union that is mounted, and what belongs to it.
struct Started {
    mount: Mount,
    runtime: Runtime,
    signals: Signals,
    lifeline: Option<Lifeline>,
}

/// What unmounts a union, and the mount namespace in which it is, if this process is in another.
#[derive(Clone)]
pub(crate) enum Unmount {
    /// Ours.
    Union(Unmounter, Option<home::Namespace>),
    /// The kernel's.
    Kernel(overlay_kernel::Mounted, Option<home::Namespace>),
}

impl Unmount {
    /// Unmounts the union, even if it is in use; does nothing if it is unmounted already.
    pub(crate) fn unmount(&self) -> Result<()> {
        let (Self::Union(_, left) | Self::Kernel(_, left)) = self;
        match left {
            None => self.unmount_here(),
            Some(namespace) => namespace.visit(|| self.unmount_here())?.unwrap_or_else(|| {
                Err(Failure::new("no process is left that leads to the mount namespace of the union"))
            }),
        }
    }

    fn unmount_here(&self) -> Result<()> {
        match self {
            Self::Union(union, _) => Ok(union.unmount()?),
            Self::Kernel(mounted, _) => Ok(mounted.unmount()?),
        }
    }
}

impl Server {
    /// Opens the layers and mounts by the engine that was chosen or, where the kernel refuses and nobody insisted on
    /// it, by the other. Returns what served in the end.
    pub(crate) fn start(
        intent: &Intent,
        invocation: &Invocation,
        choice: Choice,
        watched: Watched,
    ) -> Result<(Self, Choice)> {
        let because = match choice.engine {
            Engine::Fuse => return Ok((Self::union(intent, invocation, watched)?, choice)),
            Engine::Kernel => match images::start(intent, invocation, watched) {
                Ok(started) => return Ok((Self::of(started), choice)),
                Err(failure) if intent.wanted == Wanted::Auto && failure.is_the_kernels() => failure,
                Err(failure) => return Err(failure),
            },
        };
        let choice = intent.fuse(because.to_string())?;
        Ok((Self::union(intent, invocation, watched)?, choice))
    }

    /// Serves the union itself.
    pub(crate) fn union(intent: &Intent, invocation: &Invocation, watched: Watched) -> Result<Self> {
        union::start(intent, invocation, watched).map(Self::of)
    }

    fn of(started: Started) -> Self {
        let Started { mount, runtime, signals, lifeline } = started;
        Self { mount, signals: Some(signals), runtime, lifeline }
    }

    /// The union that this process merges.
    #[cfg(feature = "demo-server")]
    pub(crate) fn overlay(&self) -> Option<&std::sync::Arc<overlay_core::overlay::Overlay>> {
        match &self.mount {
            Mount::Union(union) => Some(&union.overlay),
            Mount::Images(_) => None,
        }
    }

    /// Carries a question to the union out on the server's runtime.
    #[cfg(feature = "demo-server")]
    pub(crate) fn block_on<T>(&self, question: impl Future<Output = T>) -> T {
        self.runtime.block_on(question)
    }

    /// What unmounts it.
    pub(crate) fn unmounter(&self) -> Unmount {
        match &self.mount {
            Mount::Union(union) => union.unmounter(),
            Mount::Images(images) => images.unmounter(),
        }
    }

    /// From now on a signal to end unmounts the union, and a second one ends the process at once.
    pub(crate) fn heed_signals(&mut self) {
        if let Some(signals) = self.signals.take() {
            self.runtime.spawn(signals::end_by_signal(signals, self.unmounter()));
        }
    }

    /// As [`Server::wait`], for a process that ends then: who waits for the server waits for the process.
    pub(crate) fn wait_and_end(mut self) -> Result<()> {
        let lifeline = self.lifeline.take();
        let ended = self.wait();
        // The system closes it.
        std::mem::forget(lifeline);
        ended
    }

    /// Serves until the union is unmounted, by whomever, and everything is written.
    pub(crate) fn wait(self) -> Result<()> {
        let (ended, layers) = match self.mount {
            Mount::Union(union) => union.wait(),
            Mount::Images(images) => (images.wait(), None),
        };
        tracing::debug!("unmounted");
        self.runtime.shutdown_timeout(SHUTDOWN);
        // The locks on the upper go before the lifeline: who waits for its end may use the upper.
        drop(layers);
        drop(self.lifeline);
        ended
    }
}

fn runtime() -> Result<Runtime> {
    let built = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    built.map_err(|error| Failure::cannot("start the runtime", error))
}

/// Threads that take requests: more of them than processors only take each other's.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8)
}

/// Without a lifeline the mount is as good as with it, but for `overlay umount`, which then cannot wait.
fn lifeline(intent: &Intent) -> Option<Lifeline> {
    let entry = mounts::topmost(&intent.mountpoint).ok().flatten()?;
    match Lifeline::hold(&entry) {
        Ok(lifeline) => Some(lifeline),
        Err(error) => {
            tracing::warn!(%error, "\"overlay umount\" will not wait for the end of this server");
            None
        }
    }
}
