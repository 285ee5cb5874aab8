//! A union merged by this process and served through FUSE.

use std::sync::Arc;

use overlay_core::UpperLayer;
use overlay_core::local::{LocalOptions, LocalUpper};
use overlay_core::marker::kernel::Namespace;
use overlay_core::overlay::{Overlay, OverlayOptions};
use overlay_core::stack::Stack;
use overlay_fuse::{MountFlags, MountOptions, Mounted, Unmounter};
use tokio::runtime::Runtime;

use super::threads;
use crate::failure::Result;
use crate::features::Features;
use crate::plan::Intent;
use crate::process;
use crate::registry::Layers;

/// A union, mounted.
pub(crate) struct Union {
    /// What is mounted.
    pub(crate) overlay: Arc<Overlay>,
    mounted: Mounted,
}

impl Union {
    /// Opens the layers and mounts. `variables` are for object stores.
    pub(super) fn mount(intent: &Intent, variables: &[(String, String)], runtime: &Runtime) -> Result<Self> {
        process::prepare();
        let overlay = runtime.block_on(open(intent, variables))?;
        let handle = runtime.handle().clone();
        let mounted = overlay_fuse::mount(overlay.clone(), &intent.mountpoint, &options(intent), handle)?;
        tracing::debug!(mountpoint = %intent.mountpoint.display(), layers = ?overlay.layer_labels(), "mounted");
        Ok(Self { overlay, mounted })
    }

    /// What unmounts it.
    pub(super) fn unmounter(&self) -> Unmounter {
        self.mounted.unmounter()
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
    let (mut lowers, mut data) = (Vec::new(), Vec::new());
    for lower in &intent.lowers {
        lowers.push(layers.open(lower).await?);
    }
    for lower in &intent.data {
        data.push(layers.open(lower).await?);
    }
    let upper = match &intent.upper {
        None => None,
        Some(upper) => Some(Arc::new(LocalUpper::open(&upper.upper, &upper.work, &local)?)),
    };
    let volatile = intent.options.volatile;
    let stack = Stack::with_data(upper.clone().map(|upper| upper as Arc<dyn UpperLayer>), lowers, data)?;
    let features = Features::read(&intent.options.kernel, "it was chosen")?;
    let options = OverlayOptions {
        creates_as: Some(owner),
        volatile,
        redirect_dir: features.redirect_dir(namespace),
        metacopy: features.metacopy,
    };
    let overlay = Overlay::new(stack, options).await?;
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
