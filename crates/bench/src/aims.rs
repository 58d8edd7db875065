//! Plexus's performance aims, and whether a report meets them.

use std::fmt::Write as _;

use crate::report::{Figure, Report, figure_text};
use crate::stats::median;

/// The wanted value of a measurement.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    /// This many times better than the better value of the baseline.
    Times(f64),
    AtLeast(f64, &'static str),
    AtMost(f64, &'static str),
}
use Wanted::{AtLeast, AtMost, Times};

/// A prefix of scenario names, a measurement, and its wanted value.
type Aim = (&'static str, &'static str, Wanted);

const AIMS: &[Aim] = &[
    ("send", "messages", Times(100.0)),
    ("send-one-room", "messages", Times(60.0)),
    ("sync-idle", "syncs", Times(40.0)),
    ("sync-initial, 100 rooms", "time", Times(50.0)),
    ("fanout to 50", "last receiver", Times(40.0)),
    ("create-room", "time", Times(70.0)),
    ("after all of these", "resident afterwards", Times(5.0)),
    ("footprint", "resident afterwards", Times(5.0)),
    ("wide-send, 10000 members against 10", "messages", AtLeast(0.5, "times")),
    ("growth, 1000000 events against 10000", "cost of a message", AtMost(1.2, "times")),
    ("disk", "bytes per event", Times(4.0)),
    ("connections, 10000 open long-polls", "resident at most", AtMost(500.0, "MB")),
    ("connections, 10000 open long-polls", "wake-up, 99th percentile", AtMost(250.0, "ms")),
    ("fed-join-large, 20000 members", "until the join is answered", Times(20.0)),
    ("fed-join-large, 20000 members", "resident at most", AtMost(300.0, "MB")),
];

/// Returns the aims as a Markdown table: for each target outside of the baseline, its value and whether it meets the
/// aim.
pub(crate) fn table(report: &Report) -> String {
    let compared: Vec<usize> = (0..report.targets.len()).filter(|index| !report.is_baseline(*index)).collect();
    let mut out = String::from("| scenario | figure | aim |");
    for index in &compared {
        // Writing to a String cannot fail, here and below.
        let _ = write!(out, " {} |", report.targets[*index]);
    }
    let _ = write!(out, "\n|{}", "---|".repeat(3 + compared.len()));
    for (scenario, what, wanted) in AIMS {
        let figure = report.figures.iter().find(|figure| figure.what == *what && fits(&figure.scenario, scenario));
        let name = figure.map_or(*scenario, |figure| &figure.scenario);
        let _ = write!(out, "\n| {name} | {what} | {} |", wanted.text());
        for index in &compared {
            let reached = figure.and_then(|figure| wanted.reached(report, figure, *index));
            let text = reached.map(|value| {
                if wanted.met(value) {
                    format!("{}: met", figure_text(value))
                } else {
                    format!("{}: **not met**", figure_text(value))
                }
            });
            let _ = write!(out, " {} |", text.unwrap_or_else(|| "not measured".to_owned()));
        }
    }
    out
}

/// Whether a scenario matches: its name, or its name with parameters.
fn fits(scenario: &str, wanted: &str) -> bool {
    scenario.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with(','))
}

impl Wanted {
    fn text(self) -> String {
        match self {
            Times(times) => format!("at least {times} times better"),
            AtLeast(least, unit) => format!("at least {least} {unit}"),
            AtMost(most, unit) => format!("at most {most} {unit}"),
        }
    }

    /// Returns the value of the target at `index`.
    fn reached(self, report: &Report, figure: &Figure, index: usize) -> Option<f64> {
        match self {
            Times(_) => median(&report.ratios(figure, index)),
            AtLeast(..) | AtMost(..) => median(figure.rounds.get(index)?),
        }
    }

    fn met(self, value: f64) -> bool {
        match self {
            Times(least) | AtLeast(least, _) => value >= least,
            AtMost(most, _) => value <= most,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Better;

    #[test]
    fn an_aim_is_met_or_not_or_not_measured() {
        let mut report = Report::new(["Old", "New on A", "New on B"].map(str::to_owned).to_vec());
        for (index, rate) in [(0, 30.0), (1, 3000.0), (2, 2000.0)] {
            report.add("send", ("messages", "per second", Better::More), index, rate);
            report.add("send-one-room", ("messages", "per second", Better::More), index, 1.0);
        }
        report.add("connections, 10000 open long-polls", ("resident at most", "MB", Better::Less), 1, 499.0);
        let table = table(&report);
        assert!(
            table.contains("| send | messages | at least 100 times better | 100: met | 66.7: **not met** |"),
            "{table}"
        );
        assert!(
            table.contains("| send-one-room | messages | at least 60 times better | 1.00: **not met** |"),
            "{table}"
        );
        assert!(table.contains("| resident at most | at most 500 MB | 499: met | not measured |"), "{table}");
        assert!(table.contains("| sync-idle | syncs | at least 40 times better | not measured | not measured |"));
    }
}
