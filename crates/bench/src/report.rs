//! Measurements, which are stored as JSON, read again and combined.

use serde::{Deserialize, Serialize};

use crate::stats::{median, percentile};

/// Whether higher or lower values are better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Better {
    More,
    Less,
}

/// One measurement of one scenario: for each target, one value per round.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub scenario: String,
    pub what: String,
    pub unit: String,
    pub better: Better,
    /// One list per target, in the targets' order; one value per round.
    pub rounds: Vec<Vec<f64>>,
}

/// A value sampled repeatedly while a scenario ran.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Series {
    pub scenario: String,
    pub what: String,
    pub unit: String,
    /// The index of a target of the report.
    pub target: usize,
    /// Seconds since the start of the run, and values.
    pub points: Vec<(f64, f64)>,
}

/// All measurements of a run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    pub targets: Vec<String>,
    pub figures: Vec<Figure>,
    #[serde(default)]
    pub series: Vec<Series>,
    /// What could not be measured, and why.
    #[serde(default)]
    pub failures: Vec<String>,
}

impl Report {
    /// Returns an empty report about `targets`.
    pub(crate) fn new(targets: Vec<String>) -> Self {
        Self { targets, ..Self::default() }
    }

    /// Adds the value of a round of `target`, the index of a target of the report.
    pub(crate) fn add(&mut self, scenario: &str, what: (&str, &str, Better), target: usize, value: f64) {
        let (name, unit, better) = what;
        let known = self.figures.iter().position(|figure| figure.scenario == scenario && figure.what == name);
        let index = known.unwrap_or_else(|| {
            let (scenario, what, unit) = (scenario.to_owned(), name.to_owned(), unit.to_owned());
            self.figures.push(Figure { scenario, what, unit, better, rounds: Vec::new() });
            self.figures.len() - 1
        });
        let rounds = &mut self.figures[index].rounds;
        rounds.resize(self.targets.len(), Vec::new());
        rounds[target].push(value);
    }

    /// Adds a sample of a series.
    pub(crate) fn point(&mut self, scenario: &str, what: &str, unit: &str, target: usize, point: (f64, f64)) {
        let known =
            |series: &&mut Series| series.scenario == scenario && series.what == what && series.target == target;
        if let Some(series) = self.series.iter_mut().find(known) {
            series.points.push(point);
            return;
        }
        let (scenario, what, unit) = (scenario.to_owned(), what.to_owned(), unit.to_owned());
        self.series.push(Series { scenario, what, unit, target, points: vec![point] });
    }

    /// Adds the measurements of another run. Targets with the same name are identical.
    pub(crate) fn merge(&mut self, other: Self) {
        let indexes: Vec<usize> = other.targets.iter().map(|name| self.target(name)).collect();
        for figure in other.figures {
            for (index, rounds) in indexes.iter().zip(figure.rounds) {
                for value in rounds {
                    self.add(&figure.scenario, (&figure.what, &figure.unit, figure.better), *index, value);
                }
            }
        }
        for series in other.series {
            let target = indexes[series.target];
            self.series.push(Series { target, ..series });
        }
        self.failures.extend(other.failures);
        let count = self.targets.len();
        self.figures.iter_mut().for_each(|figure| figure.rounds.resize(count, Vec::new()));
    }

    fn target(&mut self, name: &str) -> usize {
        if let Some(index) = self.targets.iter().position(|known| known == name) {
            return index;
        }
        self.targets.push(name.to_owned());
        self.targets.len() - 1
    }

    /// Returns the report as JSON.
    pub(crate) fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
    }

    /// Returns the scenarios in the order in which they were measured.
    pub(crate) fn scenarios(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for figure in &self.figures {
            if !names.contains(&figure.scenario.as_str()) {
                names.push(&figure.scenario);
            }
        }
        names
    }

    /// Whether the target at `index` belongs to the baseline: the first target, and those whose name begins with the
    /// same word, such as one server on two databases.
    pub(crate) fn is_baseline(&self, index: usize) -> bool {
        let first_word = |index: usize| self.targets.get(index).and_then(|name| name.split(' ').next());
        index == 0 || first_word(index) == first_word(0)
    }

    /// Returns, for each round, how many times better the target at `index` is than the best of the baseline; empty for
    /// the baseline itself.
    pub(crate) fn ratios(&self, figure: &Figure, index: usize) -> Vec<f64> {
        if self.is_baseline(index) {
            return Vec::new();
        }
        let baseline = || figure.rounds.iter().enumerate().filter(|(index, _)| self.is_baseline(*index));
        let better = |one: f64, other: f64| match figure.better {
            Better::More => one.max(other),
            Better::Less => one.min(other),
        };
        let of_round = |round: usize, value: &f64| {
            let best = baseline().filter_map(|(_, rounds)| rounds.get(round).copied()).reduce(better)?;
            Some(match figure.better {
                Better::More => value / best,
                Better::Less => best / value,
            })
        };
        let rounds = figure.rounds.get(index).into_iter().flatten().enumerate();
        rounds.filter_map(|(round, value)| of_round(round, value)).collect()
    }
}

/// Formats a value with a sensible number of digits.
pub(crate) fn figure_text(value: f64) -> String {
    match value.abs() {
        1000.0.. => grouped(value),
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        0.1.. => format!("{value:.2}"),
        0.0 => "0".to_owned(),
        _ => format!("{value:.4}"),
    }
}

/// Formats a large number with thousands separators.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && digit.is_ascii_digit() && (digits.len() - index).is_multiple_of(3) && !out.ends_with('-') {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Formats the median of ratios and their spread.
pub(crate) fn ratio_text(ratios: &[f64]) -> Option<String> {
    let (median, least, most) = (median(ratios)?, percentile(ratios, 0)?, percentile(ratios, 100)?);
    Some(match ratios.len() {
        1 => figure_text(median),
        _ => format!("{} ({} to {})", figure_text(median), figure_text(least), figure_text(most)),
    })
}

#[cfg(test)]
mod tests;
