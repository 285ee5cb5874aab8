//! Benchmarks of whole processes: `cargo run --release -p overlay-benches -- e2e`. Operations of the union without a mount
//! are measured by `cargo bench -p overlay-benches`. Dated results are kept in `results/`.

mod args;
mod calls;
mod checks;
mod failure;
mod host;
mod mount;
mod objects;
mod report;
mod run;
mod scale;
mod site;
mod subject;
mod workload;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, What};
use crate::failure::Failure;

fn main() -> ExitCode {
    match benchmark(Args::parse().what) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("overlay-benches: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn benchmark(what: What) -> Result<(), Failure> {
    match what {
        What::Calls(args) => calls::run(&args),
        What::E2e(args) if args.list => {
            report::list(args.stack);
            Ok(())
        }
        What::E2e(args) => {
            let samples = run::run(&args)?;
            report::publish(&args, &samples)
        }
    }
}
