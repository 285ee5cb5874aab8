//! `overlay mount --dry-run`: what would be mounted and how, for people and for programs.

use std::io::Write as _;

use overlay_kernel::Upper;
use serde_json::{Value, json};

use crate::failure::{Failure, Result};
use crate::plan::{Choice, Intent, Lower};
use crate::process;

/// Says what would be done.
pub(crate) fn show(intent: &Intent, choice: &Choice, as_json: bool) -> Result<()> {
    let text = if as_json { format!("{:#}\n", plan(intent, choice)) } else { outline(intent, choice) };
    let written = std::io::stdout().write_all(text.as_bytes());
    written.map_err(|error| Failure::cannot("write to standard output", error))
}

fn plan(intent: &Intent, choice: &Choice) -> Value {
    let lower = |lower: &Lower| {
        json!({
            "layer": lower.spec.to_string(),
            "scheme": lower.spec.scheme(),
            "markers": markers(lower),
        })
    };
    json!({
        "engine": choice.engine.name(),
        "why": choice.why,
        "lowers": intent.lowers.iter().map(lower).collect::<Vec<_>>(),
        "data": intent.data.iter().map(lower).collect::<Vec<_>>(),
        "upper": intent.upper.as_ref().map(|pair| pair.upper.to_string_lossy()),
        "work": intent.upper.as_ref().map(|pair| pair.work.to_string_lossy()),
        "mountpoint": intent.mountpoint.to_string_lossy(),
        "read_only": intent.flags(process::is_root()).read_only,
    })
}

fn outline(intent: &Intent, choice: &Choice) -> String {
    let mut text = format!("engine {}: {}\n", choice.engine.name(), choice.why);
    if let Some(Upper { upper, work }) = &intent.upper {
        text += &format!("upper  {} (work {})\n", upper.display(), work.display());
    }
    for lower in &intent.lowers {
        text += &format!("lower  {} ({} markers)\n", lower.spec, markers(lower));
    }
    for data in &intent.data {
        text += &format!("data   {}\n", data.spec);
    }
    text + &format!("on     {}\n", intent.mountpoint.display())
}

fn markers(lower: &Lower) -> &'static str {
    if lower.oci { "oci" } else { "kernel" }
}
