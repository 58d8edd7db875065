//! Previews in memory, and links that have none: a room full of links is not looked up for each of its readers.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use plexus_base::Clock;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::error::PreviewError;

/// The most bytes of all.
const MAX_BYTES: u64 = 2 << 20;
/// How many there are, if they are of the usual size.
const USUAL_COUNT: usize = 256;
/// The bytes of an entry besides its texts.
const ENTRY_BYTES: usize = 192;
/// How long a preview is used, as in Synapse.
const PREVIEW_KEPT: Duration = Duration::from_secs(3_600);
/// How long a link without a preview is not requested again.
const FAILURE_KEPT: Duration = Duration::from_secs(300);

/// A preview as JSON, or why there is none.
pub(super) type Outcome = Result<Arc<str>, PreviewError>;

/// Previews by URL. Owned by `Previews`; another process has its own.
pub(super) struct PreviewMemory {
    clock: Clock,
    outcomes: Cache<String, Remembered, ByBytes>,
}

#[derive(Clone)]
struct Remembered {
    outcome: Outcome,
    /// The times at which the outcome is that of the page, in Unix ms.
    valid: Range<u64>,
    /// On the clock's monotonic time.
    until: Duration,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<String, Remembered> for ByBytes {
    fn weight(&self, url: &String, remembered: &Remembered) -> u64 {
        let text = remembered.outcome.as_ref().map_or_else(|error| error.to_string().len(), |json| json.len());
        (url.len() + text + ENTRY_BYTES) as u64
    }
}

impl PreviewMemory {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, outcomes: Cache::with_weighter(USUAL_COUNT, MAX_BYTES, ByBytes) }
    }

    /// Returns the outcome for a URL, if it is that of this time.
    pub(super) fn get(&self, url: &str, at_ms: u64) -> Option<Outcome> {
        let remembered = self.outcomes.get(url)?;
        let is_kept = remembered.until > self.clock.monotonic();
        let is_of_time = remembered.outcome.is_err() || remembered.valid.contains(&at_ms);
        (is_kept && is_of_time).then_some(remembered.outcome)
    }

    /// Remembers an outcome, unless it says nothing about the page now.
    pub(super) fn set(&self, url: &str, outcome: &Outcome, valid: Range<u64>) {
        let kept = match outcome {
            Ok(_) if valid.contains(&self.clock.now_ms()) => PREVIEW_KEPT,
            Ok(_) => return,
            Err(error) if error.is_lasting() => FAILURE_KEPT,
            Err(_) => return,
        };
        let until = self.clock.monotonic().saturating_add(kept);
        self.outcomes.insert(url.to_owned(), Remembered { outcome: outcome.clone(), valid, until });
    }
}
