//! A union merged by this process and served through FUSE.

use std::sync::Arc;

use overlay_core::error::Kind;
use overlay_core::ids::{self, Owners};
use overlay_core::local::{LocalLayer, LocalOptions, LocalUpper};
use overlay_core::marker::kernel::Namespace;
use overlay_core::overlay::{Overlay, OverlayOptions};
use overlay_core::override_stat::{self, Form};
use overlay_core::stack::Stack;
use overlay_core::{Layer, UpperLayer};
use overlay_fuse::{MountFlags, MountOptions, Mounted, Ready};
use overlay_kernel::Upper;
use tokio::runtime::Runtime;

use super::home::{self, Home};
use super::{Mount, Signals, Started, Unmount, Watched, lifeline, runtime, threads};
use crate::failure::{Failure, Result};
use crate::features::Features;
use crate::holder;
use crate::mounts;
use crate::plan::Intent;
use crate::process::{self, Invocation};
use crate::registry::Layers;

/// A union, mounted.
pub(crate) struct Union {
    /// What is mounted.
    pub(crate) overlay: Arc<Overlay>,
    mounted: Mounted,
    /// Where it is, if this process is not.
    left: Option<home::Namespace>,
}

/// A union that is open, and served already if it can be shown from elsewhere.
struct Opened {
    overlay: Arc<Overlay>,
    ready: Option<Ready>,
    runtime: Runtime,
    signals: Signals,
}

/// Opens the layers, merges and mounts.
pub(super) fn start(intent: &Intent, invocation: &Invocation, watched: Watched) -> Result<Started> {
    process::prepare();
    let (opened, home) = Home::find(watched, intent).apart(|| opened(intent, invocation))?;
    let Opened { overlay, ready, runtime, signals } = opened?;
    let leaves = ready.is_some();
    let mounted = match ready {
        Some(ready) => ready.show(&intent.mountpoint)?,
        // With the help of fusermount3, which mounts here.
        None => {
            let handle = runtime.handle().clone();
            overlay_fuse::mount(overlay.clone(), &intent.mountpoint, &options(intent), handle)?
        }
    };
    if let Err(failure) = mounts::propagate(&intent.mountpoint, intent.options.propagation) {
        mounted.unmounter().unmount()?;
        return Err(failure);
    }
    tracing::debug!(mountpoint = %intent.mountpoint.display(), layers = ?overlay.layer_labels(), "mounted");
    let lifeline = lifeline(intent);
    let left = match if leaves { home.leave() } else { Ok(None) } {
        Ok(left) => left,
        Err(failure) => {
            mounted.unmounter().unmount()?;
            return Err(failure);
        }
    };
    Ok(Started { mount: Mount::Union(Union { overlay, mounted, left }), runtime, signals, lifeline })
}

fn opened(intent: &Intent, invocation: &Invocation) -> Result<Opened> {
    let runtime = runtime()?;
    // Before there is a mount: a signal that ends the process would leave a dead one behind.
    let mut signals = runtime.block_on(async { Signals::new() })?;
    let overlay = runtime.block_on(signals.unless_asked(open(intent, &invocation.variables)))?;
    let ready = match overlay_fuse::prepare(overlay.clone(), &options(intent), runtime.handle().clone()) {
        Err(error) if error.is_permission() => None,
        ready => Some(ready?),
    };
    Ok(Opened { overlay, ready, runtime, signals })
}

impl Union {
    /// What unmounts it.
    pub(super) fn unmounter(&self) -> Unmount {
        Unmount::Union(self.mounted.unmounter(), self.left)
    }

    /// Waits for its end; returns what still holds the locks on the upper.
    pub(super) fn wait(self) -> (Result<()>, Option<Arc<Overlay>>) {
        (self.mounted.wait().map_err(Into::into), Some(self.overlay))
    }
}

async fn open(intent: &Intent, variables: &[(String, String)]) -> Result<Arc<Overlay>> {
    let namespace = namespace(intent)?;
    let local = LocalOptions::new(namespace);
    let owner = process::user_and_group();
    let layers = Layers::new(variables.iter().cloned(), owner, local.clone());
    let owners = Shown { owners: intent.options.owners.owners(), form: intent.options.owners.in_xattrs() };
    let (mut lowers, mut data) = (Vec::new(), Vec::new());
    for lower in &intent.lowers {
        lowers.push(owners.lower(layers.open(lower).await?));
    }
    // Of these nothing but content is seen.
    for lower in &intent.data {
        data.push(layers.open(lower).await?);
    }
    let upper = match &intent.upper {
        None => None,
        Some(upper) => open_upper(intent, upper, &local)?,
    };
    if let (Some(pair), None) = (&intent.upper, &upper) {
        lowers.insert(0, owners.lower(Arc::new(LocalLayer::open(&pair.upper, &local)?)));
    }
    let volatile = intent.options.volatile;
    let writable = upper.clone().map(|upper| owners.upper(upper));
    let stack = Stack::with_data(writable, lowers, data)?;
    let features = Features::read(&intent.options.kernel, "it was chosen")?;
    let options = OverlayOptions {
        creates_as: owners.creates_as(owner),
        volatile,
        redirect_dir: features.redirect_dir(namespace)?,
        metacopy: features.metacopy,
        index: features.index,
    };
    let overlay = Overlay::new(stack, options).await?;
    if let Some(upper) = upper.filter(|_| volatile) {
        upper.mark_volatile()?;
    }
    Ok(overlay)
}

/// The upper, locked; `None` where another mount writes to it and this one only reads: it is the topmost lower then.
fn open_upper(intent: &Intent, pair: &Upper, local: &LocalOptions) -> Result<Option<Arc<LocalUpper>>> {
    if intent.upper_in_use {
        return Ok(None);
    }
    match LocalUpper::open(&pair.upper, &pair.work, local) {
        Err(error) if error.kind() == Kind::Busy && intent.only_reads() => Ok(None),
        Err(error) if error.kind() == Kind::Busy => {
            let held = holder::held([&pair.upper, &pair.work]);
            Err(held.map_or_else(|| error.into(), |path| Failure::new(holder::sentence(path))))
        }
        opened => Ok(Some(Arc::new(opened?))),
    }
}

/// How the owners of the layers are shown. What xattrs say is mapped and squashed like what inodes say.
struct Shown {
    owners: Owners,
    form: Option<Form>,
}

impl Shown {
    fn lower(&self, layer: Arc<dyn Layer>) -> Arc<dyn Layer> {
        let layer = match self.form {
            None => layer,
            Some(form) => override_stat::overridden(layer, form),
        };
        if self.owners.is_identity() { layer } else { ids::shown(layer, &self.owners) }
    }

    fn upper(&self, upper: Arc<dyn UpperLayer>) -> Arc<dyn UpperLayer> {
        let upper = match self.form {
            None => upper,
            Some(form) => override_stat::overridden_upper(upper, form),
        };
        if self.owners.is_identity() { upper } else { ids::shown_upper(upper, &self.owners) }
    }

    /// Whom the objects that this process makes are shown to belong to; `None` where each is given its owner.
    fn creates_as(&self, process: (u32, u32)) -> Option<(u32, u32)> {
        if self.form.is_some() { None } else { self.owners.creates_as(process) }
    }
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
        threads: threads(),
    }
}
