//! A union served through FUSE by this process: opened, mounted, and ended cleanly.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use overlay_core::UpperLayer;
use overlay_core::local::{LocalOptions, LocalUpper};
use overlay_core::marker::kernel::Namespace;
use overlay_core::overlay::{Overlay, OverlayOptions};
use overlay_core::stack::Stack;
use overlay_fuse::{MountFlags, MountOptions, Mounted, Unmounter};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::{Failure, Result};
use crate::lifeline::Lifeline;
use crate::mounts;
use crate::plan::Intent;
use crate::process;
use crate::registry::Layers;

/// A union that is mounted and served.
pub(crate) struct Server {
    /// The union.
    pub(crate) overlay: Arc<Overlay>,
    mounted: Mounted,
    signals: Option<Signals>,
    runtime: Runtime,
    lifeline: Option<Lifeline>,
}

/// How long the end of a server waits for requests that nobody is interested in any more.
const SHUTDOWN: Duration = Duration::from_secs(2);

impl Server {
    /// Opens the layers and mounts. `variables` are for object stores.
    pub(crate) fn start(intent: &Intent, variables: &[(String, String)]) -> Result<Self> {
        process::prepare();
        let runtime = runtime()?;
        let overlay = runtime.block_on(open(intent, variables))?;
        // Before there is a mount: a signal that ends the process would leave a dead one behind.
        let signals = runtime.block_on(async { Signals::new() })?;
        let mounted = overlay_fuse::mount(
            overlay.clone(),
            &intent.mountpoint,
            &options(intent),
            runtime.handle().clone(),
        )?;
        tracing::debug!(mountpoint = %intent.mountpoint.display(), layers = ?overlay.layer_labels(), "mounted");
        let lifeline = lifeline(intent);
        Ok(Self { overlay, mounted, signals: Some(signals), runtime, lifeline })
    }

    /// Carries a question to the union out on the server's runtime.
    #[cfg(feature = "demo-server")]
    pub(crate) fn block_on<T>(&self, question: impl Future<Output = T>) -> T {
        self.runtime.block_on(question)
    }

    /// What unmounts it.
    pub(crate) fn unmounter(&self) -> Unmounter {
        self.mounted.unmounter()
    }

    /// From now on a signal to end unmounts the union, and a second one ends the process at once.
    pub(crate) fn heed_signals(&mut self) {
        if let Some(signals) = self.signals.take() {
            self.runtime.spawn(end_by_signal(signals, self.unmounter()));
        }
    }

    /// Serves until the union is unmounted, by whomever, and everything is written.
    pub(crate) fn wait(self) -> Result<()> {
        let ended = self.mounted.wait();
        tracing::debug!("unmounted");
        self.runtime.shutdown_timeout(SHUTDOWN);
        // The locks on the upper go before the lifeline: who waits for its end may use the upper.
        drop(self.overlay);
        drop(self.lifeline);
        Ok(ended?)
    }
}

fn runtime() -> Result<Runtime> {
    let built = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    built.map_err(|error| Failure::cannot("start the runtime", error))
}

async fn open(intent: &Intent, variables: &[(String, String)]) -> Result<Arc<Overlay>> {
    let local = LocalOptions::new(namespace(intent)?);
    let owner = process::user_and_group();
    let layers = Layers::new(variables.iter().cloned(), owner, local.clone());
    let mut lowers = Vec::new();
    for lower in &intent.lowers {
        lowers.push(layers.open(lower).await?);
    }
    let upper = match &intent.upper {
        None => None,
        Some(upper) => Some(Arc::new(LocalUpper::open(&upper.upper, &upper.work, &local)?)),
    };
    let volatile = intent.options.volatile;
    let stack = Stack::new(upper.clone().map(|upper| upper as Arc<dyn UpperLayer>), lowers)?;
    let overlay = Overlay::new(
        stack,
        OverlayOptions { creates_as: Some(owner), volatile, ..OverlayOptions::default() },
    )
    .await?;
    if let Some(upper) = upper.filter(|_| volatile) {
        upper.mark_volatile()?;
    }
    Ok(overlay)
}

/// Where the marks of local layers are.
pub(crate) fn namespace(intent: &Intent) -> Result<Namespace> {
    match &intent.upper {
        _ if intent.options.userxattr => Ok(Namespace::User),
        Some(upper) => Ok(LocalUpper::namespace(&upper.work)?),
        None if process::reads_trusted_xattrs() => Ok(Namespace::Trusted),
        None => Ok(Namespace::User),
    }
}

fn options(intent: &Intent) -> MountOptions {
    let flags = intent.flags(process::is_root());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    MountOptions {
        source: intent.source(),
        flags: MountFlags {
            read_only: flags.read_only,
            no_suid: flags.no_suid,
            no_dev: flags.no_dev,
            no_exec: flags.no_exec,
            no_atime: flags.no_atime,
        },
        allow_other: intent.options.allow_other || process::is_root(),
        // More threads than that only take each other's processor.
        threads: threads.clamp(2, 8),
    }
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

/// The signals that ask a process to end.
pub(crate) struct Signals([Signal; 3]);

impl Signals {
    /// Takes the signals from now on. To be called on a runtime.
    pub(crate) fn new() -> Result<Self> {
        let fail = |error| Failure::cannot("take signals", error);
        let take = |kind| signal(kind).map_err(fail);
        Ok(Self([
            take(SignalKind::terminate())?,
            take(SignalKind::interrupt())?,
            take(SignalKind::hangup())?,
        ]))
    }

    /// Waits for one of them.
    pub(crate) fn next(&mut self) -> impl Future<Output = ()> {
        let [terminate, interrupt, hangup] = &mut self.0;
        async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = hangup.recv() => {}
            }
        }
    }
}

/// The status of a process that a second signal ended.
const INTERRUPTED: i32 = 130;

async fn end_by_signal(mut signals: Signals, unmounter: Unmounter) {
    signals.next().await;
    // fusermount3 may take its time, and a second signal should be heard meanwhile.
    let unmounting = tokio::task::spawn_blocking(move || unmounter.unmount());
    tokio::spawn(async move {
        if let Ok(Err(error)) = unmounting.await {
            tracing::error!(%error, "the union could not be unmounted");
        }
    });
    signals.next().await;
    std::process::exit(INTERRUPTED);
}
