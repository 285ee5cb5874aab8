//! How a subject is mounted and unmounted, by the commands that a user types.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::args::E2e;
use crate::failure::{Failure, Say};
use crate::site::{Ground, Site};
use crate::subject::{Program, Subject};

/// A mount that is there, and goes at the latest when it is dropped.
pub(crate) struct Mounted {
    merged: PathBuf,
    /// None when there is nothing to unmount any more.
    umount: Option<Command>,
}

impl Mounted {
    /// Mounts; also says how long the command took.
    pub(crate) fn new(
        args: &E2e,
        ground: &Ground,
        subject: &Subject,
        site: &Site,
    ) -> Result<(Self, Duration), Failure> {
        let merged = site.merged();
        let Some(mut mount) = mount_command(args, subject.program, site) else {
            return Ok((Self { merged, umount: None }, Duration::ZERO));
        };
        mount.envs(ground.environment());
        let time = timed(&mut mount)?.0;
        let umount = Some(umount_command(args, subject.program, site));
        Ok((Self { merged, umount }, time))
    }

    /// Where the tree is seen.
    pub(crate) fn root(&self) -> &std::path::Path {
        &self.merged
    }

    /// Unmounts; how long the command took.
    pub(crate) fn umount(mut self) -> Result<Duration, Failure> {
        match &mut self.umount {
            None => Ok(Duration::ZERO),
            Some(command) => {
                let time = timed(command)?.0;
                self.umount = None;
                Ok(time)
            }
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.umount.is_some()
            && let Err(failure) = run(Command::new("umount").arg("-l").arg(&self.merged))
        {
            eprintln!("overlay-benches: {failure}");
        }
    }
}

fn mount_command(args: &E2e, program: Program, site: &Site) -> Option<Command> {
    let layers = format!(
        "lowerdir={},upperdir={},workdir={}",
        site.lowers.join(":"),
        site.upper().display(),
        site.work().display()
    );
    let mut command = match program {
        Program::Bare => return None,
        Program::Mount8(options) => {
            let mut command = Command::new("mount");
            command.args(["-t", "overlay", "overlay", "-o"]).arg(layers + options);
            command
        }
        Program::FuseOverlayfs => {
            let mut command = Command::new("fuse-overlayfs");
            command.arg("-o").arg(layers);
            command
        }
        Program::Ours(engine) => ours(args, engine, site),
    };
    command.arg(site.merged());
    Some(command)
}

fn ours(args: &E2e, engine: &str, site: &Site) -> Command {
    let mut command = Command::new(&args.overlay);
    command.args(["mount", "--engine", engine]).args(&args.mount_arg);
    for lower in &site.lowers {
        command.arg("--lower").arg(lower);
    }
    command.arg("--upper").arg(site.upper()).arg("--work").arg(site.work());
    command
}

fn umount_command(args: &E2e, program: Program, site: &Site) -> Command {
    let mut command = match program {
        Program::Ours(_) => {
            let mut command = Command::new(&args.overlay);
            command.arg("umount");
            command
        }
        Program::Bare | Program::Mount8(_) | Program::FuseOverlayfs => Command::new("umount"),
    };
    command.arg(site.merged());
    command
}

/// Runs a command that must succeed; its time, and what it printed.
pub(crate) fn timed(command: &mut Command) -> Result<(Duration, Vec<u8>), Failure> {
    let begin = Instant::now();
    let output = command.output().say(format!("run {}", command.get_program().display()))?;
    let time = begin.elapsed();
    succeeded(command, output).map(|stdout| (time, stdout))
}

/// Runs a command that must succeed.
pub(crate) fn run(command: &mut Command) -> Result<(), Failure> {
    timed(command).map(|_| ())
}

fn succeeded(command: &Command, output: Output) -> Result<Vec<u8>, Failure> {
    if output.status.success() {
        return Ok(output.stdout);
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(Failure(format!("{command:?} failed with {}: {}", output.status, complaint.trim())))
}
