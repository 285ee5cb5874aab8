//! What was typed.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// Benchmarks of the overlay command against others
#[derive(Debug, Parser)]
#[command(name = "overlay-benches")]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) what: What,
}

#[derive(Debug, Subcommand)]
pub(crate) enum What {
    /// Whole mounts, as a user makes and uses them
    E2e(E2e),
    /// A loop of system calls in a process of its own
    #[command(hide = true)]
    Calls(Calls),
}

/// The layers of the stack, and with them the subjects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stack {
    /// One local lower: the engines against the kernel's overlayfs
    Local,
    /// Two lowers, one of them objects: against two that are local
    S3,
}

const EXAMPLES: &str = "\
Examples:
  cargo build --release -p overlay-cli
  cargo run --release -p overlay-benches -- e2e --rounds 9
  cargo run --release -p overlay-benches -- e2e --only kernel,ours-kernel --workload mount,find-warm
  cargo run --release -p overlay-benches -- e2e --stack s3 --out /tmp/results

It needs root for most subjects, and drops the machine's caches of names (drop_caches 2). A short workload
is timed several times in a round and the quickest pass counts; times are medians of the rounds, a ratio is the median
of the ratios to the base in the same round.";

#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct E2e {
    /// Which layers, and with them which subjects
    #[arg(long, value_enum, default_value = "local")]
    pub(crate) stack: Stack,
    /// The subjects to compare, instead of all
    #[arg(long, value_name = "SUBJECT", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// The workloads to run, instead of all
    #[arg(long, value_name = "WORKLOAD", value_delimiter = ',')]
    pub(crate) workload: Vec<String>,
    /// The subject that the others are compared with [default: kernel, or local with --stack s3]
    #[arg(long, value_name = "SUBJECT")]
    pub(crate) base: Option<String>,
    /// How often all is done
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// A tree of a fifth of the size: to try the benchmark, not to publish
    #[arg(long)]
    pub(crate) quick: bool,
    /// Names the subjects and the workloads, and does nothing
    #[arg(long)]
    pub(crate) list: bool,
    /// Prints the medians and ratios as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Where the results go [default: benches/results/DATE-HOST]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Where the layers are made [default: the system's temporary directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// The overlay command
    #[arg(long, value_name = "PATH", default_value = "target/release/overlay")]
    pub(crate) overlay: PathBuf,
    /// Gives this word to every `overlay mount` as well
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    pub(crate) mount_arg: Vec<String>,
}

#[derive(Debug, Parser)]
pub(crate) struct Calls {
    /// The loop's name
    pub(crate) name: String,
    /// The root of the tree
    pub(crate) root: PathBuf,
    /// How often it is timed
    pub(crate) passes: u32,
    /// The small tree
    #[arg(long)]
    pub(crate) quick: bool,
}
