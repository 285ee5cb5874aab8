//! What was typed.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// A union mount over anything: local directories, object stores, and whatever else is a layer.
#[derive(Debug, Parser)]
#[command(name = "overlay", version, disable_help_subcommand = true, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Whether this process is a server.
    #[command(flatten)]
    pub(crate) serving: ServingArgs,
}

/// The hidden arguments that make a process the server of a mount.
#[derive(Debug, clap::Args)]
pub(crate) struct ServingArgs {
    /// This process is the server of a mount and reports to its parent on standard output.
    #[arg(long = SERVING, hide = true)]
    serving: bool,

    /// Why the kernel engine is out of the question, as the parent has found out.
    #[arg(long = REFUSED, hide = true, value_name = "WHY")]
    refused: Option<String>,
}

/// What a server was told by its parent.
#[derive(Debug)]
pub(crate) struct Serving {
    /// Why the kernel engine is out of the question; `None` if nobody has tried.
    pub(crate) refused: Option<String>,
}

impl ServingArgs {
    /// What this process was told, if it is a server.
    pub(crate) fn told(self) -> Option<Serving> {
        self.serving.then_some(Serving { refused: self.refused })
    }
}

/// The hidden argument that makes a process the server of a mount.
pub(crate) const SERVING: &str = "serving";

/// The hidden argument that tells a server why the kernel engine is out of the question.
pub(crate) const REFUSED: &str = "kernel-refused";

const EXAMPLES: &str = "\
Examples:
  overlay demo
  overlay mount --lower base --upper changes --work scratch merged
  overlay umount merged";

const MOUNT_EXAMPLES: &str = "\
Examples:
  overlay mount --lower base --upper changes --work scratch merged
  overlay mount --lower patches --lower s3://bucket/data merged
  overlay mount -o lowerdir=A:s3://bucket/x:B,upperdir=U,workdir=W merged

Credentials of object stores are read from AWS_…, GOOGLE_… and AZURE_… variables.";

const REMOUNT_EXAMPLES: &str = "\
Examples:
  overlay remount merged
  overlay remount -o ro merged";

const UMOUNT_EXAMPLES: &str = "\
Examples:
  overlay umount merged
  overlay umount --lazy merged";

const DEMO_EXAMPLES: &str = "\
Example:
  overlay demo";

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Mount a union of layers.
    #[command(after_help = MOUNT_EXAMPLES)]
    Mount(Box<Mount>),
    /// Change a union that is mounted: -o ro or rw, and see an upper anew that was changed behind the mount.
    #[command(after_help = REMOUNT_EXAMPLES)]
    Remount(Remount),
    /// Unmount a union and wait until its upper layer is free.
    #[command(after_help = UMOUNT_EXAMPLES)]
    Umount(Umount),
    /// Show a union of a directory and an S3 bucket at work, in a temporary directory of its own.
    #[command(after_help = DEMO_EXAMPLES)]
    Demo,
}

/// The words that are commands.
pub(crate) const COMMANDS: [&str; 4] = ["mount", "remount", "umount", "demo"];

/// Arguments of `overlay mount`.
#[derive(Debug, clap::Args)]
pub(crate) struct Mount {
    /// A read-only layer, topmost first: a directory or a URL such as s3://bucket/prefix.
    #[arg(long, value_name = "DIR|URL")]
    pub(crate) lower: Vec<OsString>,

    /// The directory that receives all changes; without it the mount is read-only.
    #[arg(long, value_name = "DIR")]
    pub(crate) upper: Option<PathBuf>,

    /// An empty directory on the file system of the upper.
    #[arg(long, value_name = "DIR")]
    pub(crate) work: Option<PathBuf>,

    /// What merges the layers.
    #[arg(long, value_enum, default_value_t = Wanted::Auto)]
    pub(crate) engine: Wanted,

    /// Options as mount(8) writes them: lowerdir=A:B,upperdir=U,workdir=W,markers=oci,ro,…; @FILE stands for its lines.
    #[arg(short = 'o', value_name = "OPTIONS", allow_hyphen_values = true)]
    pub(crate) options: Vec<OsString>,

    /// Stay in the foreground until the union is unmounted.
    #[arg(short, long)]
    pub(crate) foreground: bool,

    /// Say which engine serves the union and why; twice: tell more of what happens.
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,

    /// What to log, as error, warn, info, debug, or a filter such as overlay_fuse=debug.
    #[arg(long, value_name = "FILTER")]
    pub(crate) log: Option<String>,

    /// Log to this file, which is where the server of a mount can still be heard.
    #[arg(long, value_name = "FILE")]
    pub(crate) log_file: Option<PathBuf>,

    /// Say what would be mounted and how, and mount nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Say it as JSON.
    #[arg(long, requires = "dry_run")]
    pub(crate) json: bool,

    /// The directory to mount on.
    pub(crate) mountpoint: PathBuf,
}

/// The engine that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Wanted {
    /// The kernel's overlayfs where it can serve the stack, else FUSE.
    Auto,
    /// This program, through FUSE.
    Fuse,
    /// The kernel's overlayfs.
    Kernel,
}

/// Arguments of `overlay remount`.
#[derive(Debug, clap::Args)]
pub(crate) struct Remount {
    /// What changes: ro or rw; without it the upper is seen anew.
    #[arg(short = 'o', value_name = "OPTIONS", allow_hyphen_values = true)]
    pub(crate) options: Vec<OsString>,

    /// Where the union is mounted.
    pub(crate) mountpoint: PathBuf,
}

/// Arguments of `overlay umount`.
#[derive(Debug, clap::Args)]
pub(crate) struct Umount {
    /// Unmount even if it is in use: it goes out of sight now and ends with its last user.
    #[arg(short, long)]
    pub(crate) lazy: bool,

    /// Where the union is mounted.
    pub(crate) mountpoint: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example_in_its_help() {
        for command in Args::command().get_subcommands_mut() {
            let help = command.render_long_help().to_string();
            assert!(help.contains(&format!("overlay {}", command.get_name())), "{help}");
        }
    }

    #[test]
    fn the_words_that_are_commands_are_known() {
        let names: Vec<_> =
            Args::command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
        assert_eq!(names, COMMANDS);
    }

    #[test]
    fn options_may_be_repeated_and_attached() {
        let args = Args::try_parse_from(["overlay", "mount", "-o", "a", "-ob,c", "m"]).unwrap();
        let Command::Mount(mount) = args.command else { panic!("{args:?}") };
        assert_eq!(mount.options, ["a", "b,c"]);
    }
}
