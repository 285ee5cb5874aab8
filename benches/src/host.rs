//! What a result is worth nothing without: on which machine, when, and of what.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::args::{E2e, Stack};

/// The machine and the run.
pub(crate) struct Host {
    date: String,
    name: String,
    lines: Vec<String>,
}

impl Host {
    pub(crate) fn look(args: &E2e, dir: &Path) -> Self {
        let name = file("/proc/sys/kernel/hostname");
        let cpus = std::thread::available_parallelism().map_or(0, usize::from);
        let date = said("date", &["-u", "+%F %R UTC"]);
        let file_system = said("findmnt", &["-no", "FSTYPE", "-T", &dir.display().to_string()]);
        let overlay = args.overlay.display();
        let lines = vec![
            format!("machine:  {name}, {cpus} CPUs ({}), {}", cpu(), memory()),
            format!("kernel:   Linux {}; layers on {file_system}", file("/proc/sys/kernel/osrelease")),
            format!("date:     {date}; load {} before", load()),
            format!("command:  {}", std::env::args().collect::<Vec<_>>().join(" ")),
            format!("overlay:  {overlay}, sources at {}", said("git", &["describe", "--always", "--dirty"])),
            format!(
                "rounds:   {}, subjects interleaved; times are medians of each round's quickest pass",
                args.rounds
            ),
        ];
        Self { date, name, lines }
    }

    /// Where results go if nobody says so.
    pub(crate) fn directory(&self) -> PathBuf {
        let day = self.date.split(' ').next().unwrap_or_default();
        Path::new("benches/results").join(format!("{day}-{}", self.name))
    }

    /// What stands above the results.
    pub(crate) fn header(&self) -> String {
        let mut lines = self.lines.join("\n");
        lines += &format!("\nload:     {} after\n", load());
        lines
    }
}

/// The name of the result's files.
pub(crate) fn file_name(stack: Stack) -> &'static str {
    match stack {
        Stack::Local => "engines",
        Stack::S3 => "s3-stack",
    }
}

fn file(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|error| error.to_string(), |text| text.trim().to_owned())
}

fn load() -> String {
    file("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned()
}

fn cpu() -> String {
    field("/proc/cpuinfo", "model name")
}

fn memory() -> String {
    field("/proc/meminfo", "MemTotal")
}

fn field(path: &str, name: &str) -> String {
    let text = file(path);
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
}

/// What a tool says; a header may lack a line.
fn said(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    output
        .map_or_else(|error| error.to_string(), |out| String::from_utf8_lossy(&out.stdout).trim().to_owned())
}
