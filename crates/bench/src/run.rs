//! The shared state of the scenarios of one run.

use std::sync::Arc;
use std::time::Duration;

use plexus_base::Clock;

use crate::options::Options;
use crate::report::{Better, Report};
use crate::round::Round;
use crate::target::Target;

/// The interval of checks whether the targets are idle, and their number.
const IDLE_CHECK_INTERVAL: Duration = Duration::from_millis(200);
const MAX_IDLE_CHECKS: usize = 300;
/// The most processor seconds per interval of an idle process.
const AT_REST: f64 = 0.02;

/// One run of the program.
#[derive(Debug)]
pub(crate) struct Run {
    pub options: Options,
    pub targets: Arc<[Target]>,
    pub report: Report,
    pub clock: Clock,
}

impl Run {
    /// Waits until the processes of all targets are idle: remaining work of the last round must not slow down the next
    /// one. Gives up after a while.
    pub(crate) async fn rest(&self) {
        let used = || self.targets.iter().filter_map(Target::processor_seconds).sum::<f64>();
        for _ in 0..MAX_IDLE_CHECKS {
            let before = used();
            self.clock.sleep(IDLE_CHECK_INTERVAL).await;
            if used() - before <= AT_REST {
                return;
            }
        }
    }

    /// Records the actions per second of a round of the target at `index`, the 99th percentile of their durations, and
    /// the processor time per action.
    pub(crate) fn rate(&mut self, scenario: &str, acts: &str, index: usize, round: &Round) {
        self.add(scenario, (acts, "per second", Better::More), index, round.count() / round.seconds);
        let slow = format!("{acts}, 99th percentile");
        self.add(scenario, (&slow, "ms", Better::Less), index, round.percentile(99));
        self.cost(scenario, acts, index, round);
    }

    /// Records the processor time per action.
    pub(crate) fn cost(&mut self, scenario: &str, acts: &str, index: usize, round: &Round) {
        if let Some(processor) = round.processor {
            let name = format!("{acts}, processor time of one");
            self.add(scenario, (&name, "µs", Better::Less), index, processor * 1e6 / round.count());
        }
    }

    /// Records the value of a round of the target at `index`.
    pub(crate) fn add(&mut self, scenario: &str, what: (&str, &str, Better), index: usize, value: f64) {
        self.report.add(scenario, what, index, value);
    }

    /// Resets the memory peaks.
    pub(crate) fn forget_peaks(&self) {
        self.targets.iter().filter_map(|target| target.process).for_each(|process| process.forget_peak());
    }

    /// Records the memory of targets with a known process.
    pub(crate) fn memory(&mut self, scenario: &str) {
        for (index, target) in Arc::clone(&self.targets).iter().enumerate() {
            let Some(process) = target.process else { continue };
            if let Some(resident) = process.resident() {
                self.add(scenario, ("resident afterwards", "MB", Better::Less), index, resident);
            }
            if let Some(own) = process.anonymous() {
                self.add(scenario, ("of it not backed by files", "MB", Better::Less), index, own);
            }
            if let Some(peak) = process.peak() {
                self.add(scenario, ("resident at most", "MB", Better::Less), index, peak);
            }
        }
    }
}
