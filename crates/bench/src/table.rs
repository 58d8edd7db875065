//! A report as a Markdown table.

use std::fmt::Write as _;

use crate::report::{Report, figure_text, ratio_text};
use crate::stats::median;

/// Returns the medians of all targets, and how many times better each is than the best of the baseline, with the
/// spread.
pub(crate) fn table(report: &Report) -> String {
    let compared: Vec<usize> = (0..report.targets.len()).filter(|index| !report.is_baseline(*index)).collect();
    let mut out = String::from("| scenario | figure |");
    for target in &report.targets {
        // Writing to a String cannot fail, here and below.
        let _ = write!(out, " {target} |");
    }
    for index in &compared {
        let _ = write!(out, " {}: times better |", report.targets[*index]);
    }
    let _ = write!(out, "\n|{}", "---|".repeat(2 + report.targets.len() + compared.len()));
    for figure in &report.figures {
        let _ = write!(out, "\n| {} | {}, {} |", figure.scenario, figure.what, figure.unit);
        for rounds in &figure.rounds {
            let _ = write!(out, " {} |", median(rounds).map_or_else(|| "-".to_owned(), figure_text));
        }
        for index in &compared {
            let text = ratio_text(&report.ratios(figure, *index));
            let _ = write!(out, " {} |", text.unwrap_or_else(|| "-".to_owned()));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Better;

    #[test]
    fn a_row_has_medians_and_ratios_and_what_was_not_measured() {
        let mut report = Report::new(vec!["old".to_owned(), "new".to_owned()]);
        for (old, new) in [(100.0, 200.0), (10.0, 40.0), (1.0, 3.0)] {
            report.add("send", ("rate", "per second", Better::More), 0, old);
            report.add("send", ("rate", "per second", Better::More), 1, new);
        }
        report.add("sync", ("time", "ms", Better::Less), 1, 5.0);
        let table = table(&report);
        assert!(table.contains("| send | rate, per second | 10.0 | 40.0 | 3.00 (2.00 to 4.00) |"), "{table}");
        assert!(table.contains("| sync | time, ms | - | 5.00 | - |"), "{table}");
    }
}
