//! Time as an argument: the system's clock, or a manual one for tests.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

/// A source of time. Clones share the same time.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System { started: Instant },
    Manual(Arc<Manual>),
}

#[derive(Debug)]
struct Manual {
    start_ms: u64,
    elapsed: watch::Sender<Duration>,
}

impl Clock {
    /// Returns the operating system's clock.
    #[expect(clippy::disallowed_methods, reason = "this is the clock everything else is given")]
    pub fn system() -> Self {
        Self(Source::System { started: Instant::now() })
    }

    /// Returns a clock for tests: it starts at `start_ms` (Unix milliseconds) and moves only by [`Clock::advance`].
    pub fn manual(start_ms: u64) -> Self {
        let elapsed = watch::Sender::new(Duration::ZERO);
        Self(Source::Manual(Arc::new(Manual { start_ms, elapsed })))
    }

    /// Returns the time of day in milliseconds since the Unix epoch. It can jump when an operator sets the system's
    /// clock.
    #[expect(clippy::disallowed_methods, reason = "this is the clock everything else is given")]
    pub fn now_ms(&self) -> u64 {
        match &self.0 {
            Source::System { .. } => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis),
            Source::Manual(manual) => manual.start_ms + millis(*manual.elapsed.borrow()),
        }
    }

    /// Returns the time since this clock was created. It never goes back: use it for intervals and timeouts.
    pub fn monotonic(&self) -> Duration {
        match &self.0 {
            Source::System { started } => started.elapsed(),
            Source::Manual(manual) => *manual.elapsed.borrow(),
        }
    }

    /// Moves a manual clock forward and wakes every sleeper whose time has come.
    ///
    /// # Panics
    /// On the system clock.
    #[expect(clippy::panic, reason = "only a test calls this, with a clock it made")]
    pub fn advance(&self, by: Duration) {
        match &self.0 {
            Source::System { .. } => panic!("only a manual clock can be advanced"),
            Source::Manual(manual) => manual.elapsed.send_modify(|elapsed| *elapsed += by),
        }
    }

    /// Waits until `duration` has passed on this clock.
    #[expect(clippy::disallowed_methods, reason = "this is the clock everything else is given")]
    pub async fn sleep(&self, duration: Duration) {
        match &self.0 {
            Source::System { .. } => tokio::time::sleep(duration).await,
            Source::Manual(manual) => {
                let mut elapsed = manual.elapsed.subscribe();
                let wake_at = elapsed.borrow().saturating_add(duration);
                // `self` keeps the sender in `manual` alive, so the channel cannot close.
                let _ = elapsed.wait_for(|now| *now >= wake_at).await;
            }
        }
    }
}

/// Whole milliseconds, saturating after 584 million years.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Returns the date, as `2026-11-21`, of a number of days since 1970 (Howard Hinnant's `civil_from_days`).
#[must_use]
pub fn date(days: u64) -> String {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn dates_are_right_around_leap_days() {
        let cases = [
            (0, "1970-01-01"),
            (59, "1970-03-01"),
            (11_016, "2000-02-29"),
            (11_017, "2000-03-01"),
            (20_778, "2026-11-21"),
        ];
        for (days, expected) in cases {
            assert_eq!(date(days), expected);
        }
    }

    #[test]
    fn the_system_clock_is_later_than_this_was_written() {
        assert!(Clock::system().now_ms() > 1_760_000_000_000);
    }

    #[test]
    fn a_manual_clock_moves_only_by_advance() {
        let clock = Clock::manual(1_000);
        let same = clock.clone();
        assert_eq!(clock.now_ms(), 1_000);
        clock.advance(Duration::from_millis(250));
        assert_eq!(same.now_ms(), 1_250);
        assert_eq!(same.monotonic(), Duration::from_millis(250));
    }

    #[test]
    fn advancing_wakes_exactly_the_sleepers_whose_time_has_come() {
        let clock = Clock::manual(0);
        let mut context = Context::from_waker(Waker::noop());
        let mut short = pin!(clock.sleep(Duration::from_secs(1)));
        let mut long = pin!(clock.sleep(Duration::from_secs(5)));
        assert_eq!(short.as_mut().poll(&mut context), Poll::Pending);
        assert_eq!(long.as_mut().poll(&mut context), Poll::Pending);
        clock.advance(Duration::from_secs(1));
        assert_eq!(short.as_mut().poll(&mut context), Poll::Ready(()));
        assert_eq!(long.as_mut().poll(&mut context), Poll::Pending);
        clock.advance(Duration::from_secs(4));
        assert_eq!(long.as_mut().poll(&mut context), Poll::Ready(()));
    }
}
