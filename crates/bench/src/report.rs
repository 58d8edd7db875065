//! What was measured, as a table for people and as JSON.

use std::fmt::Write as _;

use serde::Serialize;

use crate::stats::{median, percentile};

/// Whether more or less of a figure is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    More,
    Less,
}

/// One figure of one scenario: for each target, one value per round.
#[derive(Debug, Serialize)]
pub struct Figure {
    pub scenario: String,
    pub what: &'static str,
    pub unit: &'static str,
    pub better: Better,
    /// One list per target, in the targets' order; one value per round.
    pub rounds: Vec<Vec<f64>>,
}

/// All figures of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    targets: Vec<String>,
    figures: Vec<Figure>,
}

impl Report {
    /// An empty report about `targets`.
    pub fn new(targets: Vec<String>) -> Self {
        Self { targets, figures: Vec::new() }
    }

    /// Notes the value of a round of `target`, the index of one of the report's targets.
    pub fn add(&mut self, scenario: &str, what: (&'static str, &'static str, Better), target: usize, value: f64) {
        let (name, unit, better) = what;
        let known = self.figures.iter().position(|figure| figure.scenario == scenario && figure.what == name);
        let index = known.unwrap_or_else(|| {
            let rounds = vec![Vec::new(); self.targets.len()];
            self.figures.push(Figure { scenario: scenario.to_owned(), what: name, unit, better, rounds });
            self.figures.len() - 1
        });
        self.figures[index].rounds[target].push(value);
    }

    /// The report as JSON.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
    }

    /// The report as a Markdown table: the median per target, and how many times better each is than the first.
    pub fn table(&self) -> String {
        let mut out = String::from("| scenario | figure |");
        for target in &self.targets {
            // Writing to a String cannot fail, here and below.
            let _ = write!(out, " {target} |");
        }
        for target in self.targets.iter().skip(1) {
            let _ = write!(out, " {target}: times better |");
        }
        let columns = 1 + 2 * self.targets.len();
        let _ = write!(out, "\n|{}", "---|".repeat(columns));
        for figure in &self.figures {
            let _ = write!(out, "\n| {} | {}, {} |", figure.scenario, figure.what, figure.unit);
            for rounds in &figure.rounds {
                let _ = write!(out, " {} |", median(rounds).map_or_else(|| "-".to_owned(), figure_text));
            }
            for index in 1..self.targets.len() {
                let _ = write!(out, " {} |", ratio_text(&figure.ratios(index)));
            }
        }
        out
    }
}

impl Figure {
    /// How many times better the target at `index` is than the first, round by round.
    fn ratios(&self, index: usize) -> Vec<f64> {
        let pairs = self.rounds[0].iter().zip(&self.rounds[index]);
        pairs
            .map(|(first, other)| match self.better {
                Better::More => other / first,
                Better::Less => first / other,
            })
            .collect()
    }
}

fn figure_text(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

fn ratio_text(ratios: &[f64]) -> String {
    match (median(ratios), percentile(ratios, 0), percentile(ratios, 100)) {
        (Some(median), Some(least), Some(most)) => format!("{median:.1} ({least:.1} to {most:.1})"),
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_round_by_round_and_point_the_right_way() {
        let mut report = Report::new(vec!["old".to_owned(), "new".to_owned()]);
        for (round, (old, new)) in [(100.0, 200.0), (10.0, 40.0), (1.0, 3.0)].into_iter().enumerate() {
            report.add("send", ("rate", "per second", Better::More), 0, old);
            report.add("send", ("rate", "per second", Better::More), 1, new);
            report.add("sync", ("time", "ms", Better::Less), 0, new);
            report.add("sync", ("time", "ms", Better::Less), 1, old);
            assert_eq!(report.figures[0].rounds[0].len(), round + 1);
        }
        let table = report.table();
        assert!(table.contains("| send | rate, per second | 10.00 | 40.00 | 3.0 (2.0 to 4.0) |"), "{table}");
        assert!(table.contains("| sync | time, ms | 40.00 | 10.00 | 3.0 (2.0 to 4.0) |"), "{table}");
    }
}
