//! `overlay mount`: from what was typed to a mount that serves.

use std::time::Duration;

use overlay_kernel::{Mounted, Offer};
use tokio::runtime::Runtime;

use super::{dry_run, remount};
use crate::args::{self, Wanted};
use crate::compat;
use crate::daemon::{self, Reporter};
use crate::facts::Facts;
use crate::failure::{Failure, Result};
use crate::kernel;
use crate::mounts;
use crate::optfile;
use crate::plan::{Choice, Engine, Intent};
use crate::process::{self, Invocation};
use crate::registry;
use crate::serve::{self, Server, Signals, Watched};

/// Mounts. `serving`: this process is the server that another one started and waits for.
pub(crate) fn run(
    args: &args::Mount,
    invocation: &Invocation,
    serving: Option<&args::Serving>,
) -> Result<()> {
    let options = compat::parse(&optfile::expand(&args.options)?)?;
    if options.remount {
        return remount::apply(&args.mountpoint, options.read_only());
    }
    let mut intent = Intent::read(args, options)?;
    for lower in intent.all_lowers() {
        registry::check(lower)?;
    }
    let offer = Offer::probe();
    let facts = Facts::gather(&intent, &offer, &invocation.runtime_directory())?;
    intent.check(&facts)?;
    intent.heed(&facts);
    let choice = match serving.and_then(|serving| serving.refused.clone()) {
        Some(refused) => intent.fuse(refused)?,
        None => intent.choose(&offer)?,
    };
    if serving.is_some() {
        return serve_in_background(&intent, invocation, choice);
    }
    if args.dry_run {
        return dry_run::show(&intent, &choice, args.json);
    }
    let is_alone = choice.engine == Engine::Kernel && intent.images().next().is_none();
    if is_alone {
        by_kernel(args, invocation, &intent, choice)
    } else {
        by_server(args, invocation, &intent, choice)
    }
}

/// The kernel needs nobody's help with this stack.
fn by_kernel(args: &args::Mount, invocation: &Invocation, intent: &Intent, choice: Choice) -> Result<()> {
    process::raise_descriptors();
    let namespace = serve::namespace(intent)?;
    let mut watch = if args.foreground { Some(Watch::new()?) } else { None };
    match kernel::mount(intent, namespace, &[], &invocation.runtime_directory()) {
        Ok((mounted, _locks)) => {
            announce(args, &choice.to_string());
            watch.as_mut().map_or(Ok(()), |watch| watch.stay(intent, &mounted))
        }
        // What the kernel refuses, an upper on another overlay say, the fuse engine may well serve.
        Err(failure) if intent.wanted == Wanted::Auto && failure.is_the_kernels() => {
            by_server(args, invocation, intent, intent.fuse(failure.to_string())?)
        }
        Err(failure) => Err(failure),
    }
}

fn by_server(args: &args::Mount, invocation: &Invocation, intent: &Intent, choice: Choice) -> Result<()> {
    if !args.foreground {
        let refused = (choice.engine == Engine::Fuse).then_some(choice.why.as_str());
        announce(args, &daemon::launch(&invocation.args, refused)?);
        return Ok(());
    }
    let (mut server, served) = Server::start(intent, invocation, choice, Watched::Foreground)?;
    announce(args, &served.to_string());
    server.heed_signals();
    server.wait()
}

fn announce(args: &args::Mount, choice: &str) {
    if args.verbose > 0 {
        eprintln!("overlay: {choice}");
    }
}

fn serve_in_background(intent: &Intent, invocation: &Invocation, choice: Choice) -> Result<()> {
    let reporter = Reporter::detach()?;
    let (mut server, served) = Server::start(intent, invocation, choice, Watched::Background)?;
    server.heed_signals();
    if let Err(failure) = reporter.report(&served.to_string()) {
        server.unmounter().unmount()?;
        return Err(failure);
    }
    let ended = server.wait_and_end();
    if let Err(failure) = &ended {
        tracing::error!(%failure, "the mount ended");
    }
    ended
}

/// How often a foreground command looks whether the kernel's mount is still there.
const LOOK: Duration = Duration::from_millis(100);

/// A command that stays in the foreground, though the kernel needs nobody.
struct Watch {
    runtime: Runtime,
    signals: Signals,
}

impl Watch {
    /// Takes the signals, before there is a mount that one could leave behind.
    fn new() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::cannot("start the runtime", error))?;
        let signals = runtime.block_on(async { Signals::new() })?;
        Ok(Self { runtime, signals })
    }

    /// Stays until the mount is gone, or takes it away when asked to end, or when it can be seen no more.
    fn stay(&mut self, intent: &Intent, mounted: &Mounted) -> Result<()> {
        let Self { runtime, signals } = self;
        let gone = runtime.block_on(async {
            let ours = mounts::topmost(&intent.mountpoint)?.map(|mount| mount.device);
            while mounts::all()?.into_iter().any(|mount| Some(mount.device) == ours) {
                tokio::select! {
                    () = signals.next() => return Ok(mounted.unmount()?),
                    () = tokio::time::sleep(LOOK) => {}
                }
            }
            Ok(())
        });
        gone.or_else(|failure| mounted.unmount().map_err(Failure::from).and(Err(failure)))
    }
}
