//! The measurements of one round of a scenario.

use crate::stats::percentile;

/// The work of one target in one round.
#[derive(Debug)]
pub(crate) struct Round {
    /// The duration of each action in milliseconds.
    pub times: Vec<f64>,
    /// The total duration in seconds.
    pub seconds: f64,
    /// The processor time of the server's process, in seconds.
    pub processor: Option<f64>,
}

impl Round {
    /// Returns the number of actions.
    #[expect(clippy::cast_precision_loss, reason = "counts of requests are far below 2^52")]
    pub(crate) fn count(&self) -> f64 {
        self.times.len() as f64
    }

    /// Returns the `percent`th percentile of the durations in milliseconds; 0 when there are none.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        percentile(&self.times, percent).unwrap_or_default()
    }
}
