//! `overlay mount`: from what was typed to a mount that serves.

use std::time::Duration;

use overlay_core::marker::kernel::Namespace;
use overlay_kernel::{Offer, Plan, Upper};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::dry_run;
use crate::args::{self, Wanted};
use crate::daemon::{self, Reporter};
use crate::facts::Facts;
use crate::failure::{Failure, Result};
use crate::mounts;
use crate::plan::{Choice, Engine, Intent};
use crate::process::{self, Invocation};
use crate::registry;
use crate::serve::{self, Server, Signals};

/// Mounts. `serving`: this process is the server that another one started and waits for.
pub(crate) fn run(args: &args::Mount, invocation: &Invocation, serving: bool) -> Result<()> {
    let intent = Intent::read(args)?;
    for lower in &intent.lowers {
        registry::check(lower)?;
    }
    intent.check(&Facts::gather(&intent)?)?;
    if serving {
        return serve_in_background(&intent, invocation);
    }
    let choice = intent.choose(&Offer::probe())?;
    if args.dry_run {
        return dry_run::show(&intent, &choice, args.json);
    }
    match choice.engine {
        Engine::Kernel => by_kernel(args, invocation, &intent, choice),
        Engine::Fuse => by_fuse(args, invocation, &intent, &choice),
    }
}

fn by_kernel(args: &args::Mount, invocation: &Invocation, intent: &Intent, choice: Choice) -> Result<()> {
    match mount_by_kernel(intent) {
        Ok(()) => announce(args, &choice),
        // What the kernel refuses, an upper on another overlay say, the fuse engine may well serve.
        Err(failure) if intent.wanted == Wanted::Auto => {
            return by_fuse(args, invocation, intent, &intent.fuse(failure.to_string())?);
        }
        Err(failure) => return Err(failure),
    }
    if args.foreground { stay(intent) } else { Ok(()) }
}

fn by_fuse(args: &args::Mount, invocation: &Invocation, intent: &Intent, choice: &Choice) -> Result<()> {
    announce(args, choice);
    if !args.foreground {
        return daemon::launch(&invocation.args);
    }
    let mut server = Server::start(intent, &invocation.variables)?;
    server.heed_signals();
    server.wait()
}

fn announce(args: &args::Mount, choice: &Choice) {
    if args.verbose > 0 {
        eprintln!("overlay: engine {}: {}", choice.engine.name(), choice.why);
    }
}

fn serve_in_background(intent: &Intent, invocation: &Invocation) -> Result<()> {
    let reporter = Reporter::detach()?;
    let mut server = Server::start(intent, &invocation.variables)?;
    server.heed_signals();
    if let Err(failure) = reporter.report_ok() {
        server.unmounter().unmount()?;
        return Err(failure);
    }
    let ended = server.wait();
    if let Err(failure) = &ended {
        tracing::error!(%failure, "the mount ended");
    }
    ended
}

fn mount_by_kernel(intent: &Intent) -> Result<()> {
    if let Some(upper) = &intent.upper {
        refuse_in_use(upper)?;
    }
    let userxattr = serve::namespace(intent)? == Namespace::User;
    let plan = Plan::new(&intent.request(process::is_root(), userxattr))?;
    Ok(overlay_kernel::mount(&plan, &intent.mountpoint)?)
}

/// Fails if a server of ours holds the upper or the work: the kernel would let both write.
fn refuse_in_use(upper: &Upper) -> Result<()> {
    for path in [&upper.upper, &upper.work] {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|errno| Failure::cannot(format_args!("open {}", path.display()), errno))?;
        match rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => {
                return Err(Failure::new(format!("{} is in use by another mount", path.display())));
            }
            locked => {
                locked.map_err(|errno| Failure::cannot(format_args!("lock {}", path.display()), errno))?
            }
        }
    }
    Ok(())
}

/// How often a foreground command looks whether the kernel's mount is still there.
const LOOK: Duration = Duration::from_millis(100);

/// Stays until the mount is gone, or takes it away when asked to end.
fn stay(intent: &Intent) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::cannot("start the runtime", error))?;
    let ours = mounts::topmost(&intent.mountpoint)?;
    runtime.block_on(async {
        let mut signals = Signals::new()?;
        while ours.is_some() && mounts::topmost(&intent.mountpoint)? == ours {
            tokio::select! {
                () = signals.next() => return Ok(overlay_fuse::unmount(&intent.mountpoint, true)?),
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        Ok(())
    })
}
