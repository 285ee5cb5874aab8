//! Medians and ratios.

use crate::run::{Sample, Samples};

/// One row for a workload, one column for a subject.
pub(crate) struct Table {
    pub(crate) base: String,
    pub(crate) subjects: Vec<&'static str>,
    pub(crate) rows: Vec<Row>,
}

pub(crate) struct Row {
    pub(crate) workload: &'static str,
    what: &'static str,
    /// None where a subject has nothing to do.
    pub(crate) cells: Vec<Option<Cell>>,
}

pub(crate) struct Cell {
    pub(crate) subject: &'static str,
    /// The median of the rounds.
    pub(crate) seconds: f64,
    /// The median of the ratios to the base in the same round: what slows a whole round down is in both.
    pub(crate) ratio: f64,
    /// Half the distance of the quartiles of these ratios.
    pub(crate) spread: f64,
}

impl Table {
    pub(crate) fn new(samples: &Samples, base: &str) -> Self {
        let subjects: Vec<_> = samples.subjects.iter().map(|subject| subject.name).collect();
        let row = |name, what| Row {
            workload: name,
            what,
            cells: subjects.iter().map(|subject| cell(&samples.all, name, subject, base)).collect(),
        };
        let rows = samples.workloads.iter().map(|workload| row(workload.name, workload.what)).collect();
        Self { base: base.to_owned(), subjects, rows }
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "Milliseconds, and in brackets the ratio to {} with half the distance of its quartiles.\n\n{:<13}",
            self.base, ""
        );
        text += &self.subjects.iter().map(|subject| format!("{subject:>22}")).collect::<String>();
        for row in &self.rows {
            let cells: String =
                row.cells.iter().map(|cell| format!("{:>22}", words(cell.as_ref()))).collect();
            text += &format!("\n{:<13}{cells}", row.workload);
        }
        text += "\n\n";
        text +=
            &self.rows.iter().map(|row| format!("{:<13} {}\n", row.workload, row.what)).collect::<String>();
        text
    }
}

fn words(cell: Option<&Cell>) -> String {
    cell.map_or("-".into(), |cell| {
        format!("{:.2} ({:.2}±{:.2})", cell.seconds * 1e3, cell.ratio, cell.spread)
    })
}

fn cell(all: &[Sample], workload: &str, subject: &'static str, base: &str) -> Option<Cell> {
    let of = |name: &str| -> Vec<&Sample> {
        all.iter().filter(|s| s.workload == workload && s.subject == name).collect()
    };
    let (own, base) = (of(subject), of(base));
    let to_base = |sample: &&Sample| {
        let same = base.iter().find(|other| other.round == sample.round)?;
        Some(sample.seconds / same.seconds)
    };
    let ratios = sorted(own.iter().filter_map(to_base).collect());
    let seconds = quantile(&sorted(own.iter().map(|sample| sample.seconds).collect()), 0.5)?;
    let spread = (quantile(&ratios, 0.75)? - quantile(&ratios, 0.25)?) / 2.0;
    Some(Cell { subject, seconds, ratio: quantile(&ratios, 0.5)?, spread })
}

fn sorted(mut numbers: Vec<f64>) -> Vec<f64> {
    numbers.sort_by(f64::total_cmp);
    numbers
}

/// The value at a share of sorted numbers, between two neighbours if need be.
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let at = share * sorted.len().checked_sub(1)? as f64;
    let (low, high) = (sorted.get(at.floor() as usize)?, sorted.get(at.ceil() as usize)?);
    Some(low + (high - low) * at.fract())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_between_its_neighbours() {
        let numbers = sorted(vec![4.0, 1.0, 3.0, 2.0]);
        assert_eq!(quantile(&numbers, 0.5), Some(2.5));
        assert_eq!(quantile(&numbers, 1.0), Some(4.0));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn a_ratio_is_that_of_the_same_round() {
        let sample = |subject, round, seconds| Sample { workload: "w", subject, round, seconds };
        let all = [sample("a", 0, 1.0), sample("b", 0, 2.0), sample("a", 1, 10.0), sample("b", 1, 20.0)];
        let cell = cell(&all, "w", "b", "a").unwrap();
        assert_eq!((cell.ratio, cell.spread), (2.0, 0.0));
    }
}
