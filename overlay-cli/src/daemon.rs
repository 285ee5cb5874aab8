//! The server of a mount in the background.
//!
//! The command starts itself once more as the server and waits for its report, a line on the server's standard
//! output: `ok` and what serves it once the mount serves, or why it does not. Until then the server has the standard error of the
//! command; afterwards it holds nothing of its caller, who may wait for the end of its output.

use std::ffi::OsString;
use std::io::Read;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use indicatif::ProgressBar;
use rustix::fs::{Mode, OFlags};
use rustix::stdio;

use crate::args::{REFUSED, SERVING};
use crate::failure::{Failure, Result};
use crate::process;

/// What a server reports, before what serves the mount, once it does.
const OK: &str = "ok: ";

/// What a server reports before the sentence that says why there is no mount.
const FAILED: &str = "failed: ";

/// Starts this program again, with the same arguments, as a server, and waits until its mount serves. `refused` is
/// why the kernel engine is out of the question. Returns what serves the mount.
pub(crate) fn launch(args: &[OsString], refused: Option<&str>) -> Result<String> {
    let fail = |error: std::io::Error| Failure::cannot("start the server of the mount", error);
    let mut command = Command::new("/proc/self/exe");
    command.arg(format!("--{SERVING}"));
    command.args(refused.map(|why| format!("--{REFUSED}={why}")));
    command.args(args.get(1..).unwrap_or_default());
    if let Some(name) = args.first() {
        command.arg0(name);
    }
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(fail)?;
    let report = match child.stdout.take() {
        Some(pipe) => await_report(pipe).map_err(fail)?,
        None => Vec::new(),
    };
    judge(&String::from_utf8_lossy(&report), child)
}

/// Reads the whole report. Somebody at a terminal who has to wait for it, for a distant store, is told so.
fn await_report(mut pipe: ChildStdout) -> std::io::Result<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut report = Vec::new();
        let read = pipe.read_to_end(&mut report).map(|_| report);
        // Nobody listens only if the waiting itself has failed, and then that is what is told.
        drop(sender.send(read));
    });
    let gone = |_| std::io::Error::other("the reader of the report ended");
    let report = match receiver.recv_timeout(SILENCE) {
        Ok(report) => report,
        Err(RecvTimeoutError::Disconnected) => Err(std::io::Error::other("the reader of the report ended")),
        Err(RecvTimeoutError::Timeout) => {
            let spinner = ProgressBar::new_spinner().with_message("opening the layers");
            spinner.enable_steady_tick(TICK);
            let report = receiver.recv().map_err(gone);
            spinner.finish_and_clear();
            report?
        }
    };
    reader.join().map_err(|_| std::io::Error::other("the reader of the report panicked"))?;
    report
}

/// How long a mount may take before it says what it is at.
const SILENCE: Duration = Duration::from_millis(500);

/// How often the sign of life moves.
const TICK: Duration = Duration::from_millis(100);

fn judge(report: &str, mut child: Child) -> Result<String> {
    if let Some(served) = report.strip_prefix(OK).and_then(|rest| rest.strip_suffix('\n')) {
        return Ok(served.into());
    }
    let status = child.wait().map_err(|error| Failure::cannot("wait for the server of the mount", error))?;
    match report.strip_prefix(FAILED) {
        Some(sentence) => Err(Failure::new(sentence)),
        None => Err(Failure::new(format!("the server of the mount ended before it could serve ({status})"))),
    }
}

/// The server's side of the report.
pub(crate) struct Reporter {
    null: OwnedFd,
    inherited: Vec<RawFd>,
}

impl Reporter {
    /// Takes the process out of its caller's session, so that it does not end with a terminal.
    pub(crate) fn detach() -> Result<Self> {
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        let null = null.map_err(|errno| Failure::cannot("open /dev/null", errno))?;
        rustix::process::setsid().map_err(|errno| Failure::cannot("leave the session", errno))?;
        let inherited = process::inherited();
        let inherited = inherited.map_err(|error| Failure::cannot("read /proc/self/fd", error))?;
        Ok(Self { null, inherited })
    }

    /// Lets go of all that the caller waits for, and tells it that the mount serves: the end of the report is the
    /// last that it hears.
    pub(crate) fn report(self, served: &str) -> Result<()> {
        let step = |errno| Failure::cannot("leave the terminal", errno);
        rustix::process::chdir("/").map_err(step)?;
        // Not before: a layer may be named by one, as `/proc/self/fd/5`.
        for fd in self.inherited {
            nix::unistd::close(fd)
                .map_err(|errno| Failure::cannot("close what the caller left open", errno))?;
        }
        stdio::dup2_stdin(&self.null).map_err(step)?;
        stdio::dup2_stderr(&self.null).map_err(step)?;
        write_report(format!("{OK}{served}\n").as_bytes()).map_err(step)?;
        stdio::dup2_stdout(&self.null).map_err(step)
    }
}

/// Tells the caller why there is no mount.
pub(crate) fn report_failure(failure: &Failure) {
    if let Err(errno) = write_report(format!("{FAILED}{failure}").as_bytes()) {
        tracing::error!(%errno, %failure, "the failure could not be reported");
    }
}

/// Past the buffer of the library, which would be written once more at the end.
fn write_report(mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        let written = rustix::io::write(stdio::stdout(), bytes)?;
        bytes = &bytes[written..];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn child(script: &str) -> Child {
        Command::new("sh").args(["-c", script]).spawn().unwrap()
    }

    #[test]
    fn a_report_is_judged_by_its_words_and_silence_by_the_status() {
        let mut running = child("exit 0");
        running.wait().unwrap();
        assert_eq!(judge("ok: engine fuse: so\n", running).unwrap(), "engine fuse: so");
        let sentence = |report, script| judge(report, child(script)).unwrap_err().to_string();
        assert_eq!(sentence("failed: no such layer", "exit 1"), "no such layer");
        let died = "the server of the mount ended before it could serve";
        assert_eq!(sentence("", "exit 3"), format!("{died} (exit status: 3)"));
        assert_eq!(sentence("", "kill -9 $$"), format!("{died} (signal: 9 (SIGKILL))"));
        assert_eq!(sentence("ok: cut sh", "exit 0"), format!("{died} (exit status: 0)"));
    }
}
