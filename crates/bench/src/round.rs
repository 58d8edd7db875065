//! What one round of a scenario measured.

use crate::stats::percentile;

/// What one target did in one round.
#[derive(Debug)]
pub struct Round {
    /// Each act's duration in milliseconds.
    pub times: Vec<f64>,
    /// The seconds that all of it took.
    pub seconds: f64,
    /// The processor time that the server's process used meanwhile, in seconds.
    pub processor: Option<f64>,
}

impl Round {
    /// How many there were.
    #[expect(clippy::cast_precision_loss, reason = "counts of requests are far below 2^52")]
    pub fn count(&self) -> f64 {
        self.times.len() as f64
    }

    /// The `percent`th percentile of the durations in milliseconds; 0 when there are none.
    pub fn percentile(&self, percent: usize) -> f64 {
        percentile(&self.times, percent).unwrap_or_default()
    }
}
