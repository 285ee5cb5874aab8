//! The command `overlay`: what was typed, what it means, and who carries it out.

mod args;
mod commands;
mod compat;
mod daemon;
mod facts;
mod failure;
mod features;
mod helper;
mod holder;
mod kernel;
mod lifeline;
mod mounts;
mod optfile;
mod plan;
mod process;
mod registry;
mod serve;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use args::{Args, Command, Serving};
use failure::{Failure, Result};
use process::Invocation;

/// The status after a failure.
const FAILED: u8 = 1;

/// The status after words that are no command.
const MISUSED: u8 = 2;

fn main() -> ExitCode {
    let invocation = invocation();
    let args = match Args::try_parse_from(&invocation.args) {
        Ok(args) => args,
        Err(error) => return explain(&error),
    };
    let Args { command, serving } = args;
    let serving = serving.told();
    match run(command, serving.as_ref(), &invocation) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if serving.is_some() {
                daemon::report_failure(&failure);
            } else {
                eprintln!("overlay: {failure}");
            }
            ExitCode::from(FAILED)
        }
    }
}

/// All that the command takes from its environment. Nothing else reads it.
fn invocation() -> Invocation {
    let text =
        |(key, value): (OsString, OsString)| Some((key.into_string().ok()?, value.into_string().ok()?));
    Invocation {
        args: helper::translate(std::env::args_os().collect(), &args::COMMANDS),
        variables: std::env::vars_os().filter_map(text).collect(),
    }
}

fn run(command: Command, serving: Option<&Serving>, invocation: &Invocation) -> Result<()> {
    match command {
        Command::Mount(mount) => {
            let filter = invocation.log_filter(mount.log.as_deref(), mount.verbose);
            start_log(&filter, mount.log_file.as_deref())?;
            commands::mount::run(&mount, invocation, serving)
        }
        Command::Remount(remount) => {
            start_log(&invocation.log_filter(None, 0), None)?;
            commands::remount::run(&remount)
        }
        Command::Umount(umount) => {
            start_log(&invocation.log_filter(None, 0), None)?;
            commands::umount::run(&umount)
        }
        Command::Demo => {
            start_log(&invocation.log_filter(None, 0), None)?;
            commands::demo::run()
        }
    }
}

fn start_log(filter: &str, file: Option<&std::path::Path>) -> Result<()> {
    use tracing_subscriber::{EnvFilter, fmt};
    let wrong = |error| Failure::new(format!("\"{filter}\" is no log filter: {error}"));
    let log = fmt().with_env_filter(EnvFilter::try_new(filter).map_err(wrong)?).with_ansi(false);
    match file {
        None => log.with_writer(std::io::stderr).init(),
        Some(path) => {
            let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
            let file =
                file.map_err(|error| Failure::cannot(format_args!("log to {}", path.display()), error))?;
            log.with_writer(file).init();
        }
    }
    Ok(())
}

/// Help goes out whole; what was typed wrongly becomes one sentence.
fn explain(error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            eprint!("{text}");
            ExitCode::from(MISUSED)
        }
        _ => {
            eprintln!("overlay: {}", misuse(&text));
            ExitCode::from(MISUSED)
        }
    }
}

fn misuse(text: &str) -> String {
    let paragraphs =
        text.split("\n\n").take_while(|part| !part.starts_with("Usage:") && !part.starts_with("For "));
    let lines = paragraphs.map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
    let sentence = lines.collect::<Vec<_>>().join("; ");
    sentence.strip_prefix("error: ").unwrap_or(&sentence).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_is_one_sentence() {
        for (words, expected) in [
            (&["mount"][..], "the following required arguments were not provided: <MOUNTPOINT>"),
            (&["mount", "--uper", "x", "m"], "unexpected argument '--uper' found; tip: a similar argument"),
            (&["mount", "--engine", "x", "m"], "invalid value 'x' for '--engine <ENGINE>' [possible values:"),
            (&["monut"], "unrecognized subcommand 'monut'"),
        ] {
            let error = Args::try_parse_from(["overlay"].iter().chain(words)).unwrap_err();
            let sentence = misuse(&error.render().to_string());
            assert!(sentence.starts_with(expected) && !sentence.contains('\n'), "{sentence}");
        }
    }
}
