//! Making a failing sequence small enough to read.

use super::lowers::Build;
use super::op::Step;
use super::run::{Features, run};

/// Leaves out steps and lower objects as long as there is a difference. Returns what is left, with the difference.
pub fn shrink(
    features: Features,
    mut lowers: Vec<Vec<Build>>,
    mut steps: Vec<Step>,
    mut failure: String,
) -> String {
    let fails = |lowers: &[Vec<Build>], steps: &[Step]| {
        let mut rest = steps.iter().cloned();
        run(features, lowers, 1, |_| rest.next())
    };
    for size in [16, 4, 1, 1] {
        let mut at = steps.len();
        while at > 0 {
            at = at.saturating_sub(size);
            let mut fewer = steps.clone();
            fewer.drain(at..(at + size).min(steps.len()));
            let run = fails(&lowers, &fewer);
            if let Some(still) = run.failure {
                (steps, failure) = (run.steps, still);
                at = at.min(steps.len());
            }
        }
    }
    for layer in 0..lowers.len() {
        for at in (0..lowers[layer].len()).rev() {
            let mut fewer = lowers.clone();
            fewer[layer].remove(at);
            if let Some(still) = fails(&fewer, &steps).failure {
                (lowers, failure) = (fewer, still);
            }
        }
    }
    let mut lines = Vec::new();
    for (index, layer) in lowers.iter().enumerate() {
        lines.push(format!("l{index}: {layer:?}"));
    }
    lines.extend(steps.iter().map(|step| format!("{step:?}")));
    lines.push(failure);
    lines.join("\n")
}
