//! The ratios as bars.

use super::table::{Cell, Table};

const WIDTH: f64 = 640.0;
const LABELS: f64 = 230.0;
const BAR: f64 = 12.0;
/// Longer bars are cut, and say how long they would be.
const LONGEST: f64 = 5.0;
/// One for each subject; those that follow begin again.
const COLOURS: [&str; 7] = ["#999999", "#4477aa", "#66ccee", "#228833", "#ccbb44", "#ee6677", "#aa3377"];

/// A group of bars for each workload; the line is the base.
pub(crate) fn svg(table: &Table) -> String {
    let mut y = 30.0;
    let mut bars = String::new();
    for row in &table.rows {
        for (colour, cell) in row.cells.iter().enumerate().filter_map(|(i, cell)| Some((i, cell.as_ref()?))) {
            bars += &bar(y, row.workload, cell, COLOURS[colour % COLOURS.len()]);
            y += BAR + 1.0;
        }
        y += BAR;
    }
    let one = LABELS + unit();
    let (width, height) = (LABELS + WIDTH + 60.0, y + 10.0);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"10\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n\
         <text x=\"{LABELS}\" y=\"16\">Time, as a multiple of {}'s; shorter is better</text>\n{bars}\
         <line x1=\"{one}\" x2=\"{one}\" y1=\"24\" y2=\"{y}\" stroke=\"black\"/>\n</svg>\n",
        table.base
    )
}

fn unit() -> f64 {
    WIDTH / LONGEST
}

fn bar(y: f64, workload: &str, cell: &Cell, colour: &str) -> String {
    let length = cell.ratio.min(LONGEST) * unit();
    let (text_y, label_x, value_x) = (y + BAR - 2.0, LABELS - 6.0, LABELS + length + 4.0);
    format!(
        "<text x=\"{label_x}\" y=\"{text_y}\" text-anchor=\"end\">{workload} {}</text>\
         <rect x=\"{LABELS}\" y=\"{y}\" width=\"{length:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\
         <text x=\"{value_x:.1}\" y=\"{text_y}\">{:.2}</text>\n",
        cell.subject, cell.ratio
    )
}
