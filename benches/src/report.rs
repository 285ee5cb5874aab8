//! What is said of the measurements, and where it is kept.

mod chart;
mod table;

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::args::{E2e, Stack};
use crate::failure::{Failure, Say};
use crate::host;
use crate::run::Samples;
use crate::{subject, workload};

use self::table::Table;

/// Names what there is.
pub(crate) fn list(stack: Stack) {
    println!("Subjects:");
    for subject in subject::all(stack) {
        println!("  {:<16} {}", subject.name, subject.what);
    }
    println!("Workloads:");
    for workload in workload::all(stack) {
        println!("  {:<16} {}", workload.name, workload.what);
    }
}

/// Prints the results and writes them into the directory of results.
pub(crate) fn publish(args: &E2e, samples: &Samples) -> Result<(), Failure> {
    let table = Table::new(samples, subject::base(args));
    let text = format!("{}\n{}", samples.host.header(), table.text());
    let dir = args.out.clone().unwrap_or_else(|| samples.host.directory());
    fs::create_dir_all(&dir).say(dir.display())?;
    let name = host::file_name(args.stack);
    write(&dir, &format!("{name}.txt"), &text)?;
    write(&dir, &format!("{name}.csv"), &csv(samples))?;
    write(&dir, &format!("{name}.svg"), &chart::svg(&table))?;
    println!("{}", if args.json { json(&table).to_string() } else { text });
    eprintln!("Written to {}", dir.display());
    Ok(())
}

fn write(dir: &Path, name: &str, text: &str) -> Result<(), Failure> {
    let path = dir.join(name);
    fs::write(&path, text).say(path.display())
}

/// Every measurement, so that others can judge the medians.
fn csv(samples: &Samples) -> String {
    let rows =
        samples.all.iter().map(|s| format!("{},{},{},{:.9}\n", s.workload, s.subject, s.round, s.seconds));
    "workload,subject,round,seconds\n".chars().chain(rows.collect::<String>().chars()).collect()
}

fn json(table: &Table) -> serde_json::Value {
    let cells = table.rows.iter().flat_map(|row| {
        row.cells.iter().flatten().map(|cell| {
            json!({
                "workload": row.workload,
                "subject": cell.subject,
                "seconds": cell.seconds,
                "ratio": cell.ratio,
                "spread": cell.spread,
            })
        })
    });
    json!({ "base": table.base, "results": cells.collect::<Vec<_>>() })
}
