//! When a request that failed is sent again, and what the failure says about its destination.

use std::ops::ControlFlow;
use std::time::Duration;

use http::StatusCode;
use plexus_protocol::id::ServerName;

use super::call::{Call, Patience};
use super::client::FederationClient;
use super::destinations::with_jitter;
use super::error::FederationError;

/// The pause after the first failure of a call, ms; each further one is twice as long.
const FIRST_PAUSE_MS: u64 = 500;

/// The attempts of one call.
pub(super) struct Attempts {
    left: u32,
    failed: u32,
    /// Unix ms.
    began: u64,
    /// Whether the destination was backed off when it began.
    backed_off: bool,
}

impl FederationClient {
    /// How often `call` may be sent: not at all while the destination is backed off, unless somebody waits.
    pub(super) fn begin(&self, destination: &ServerName, call: &Call) -> Result<Attempts, FederationError> {
        let backed_off = self.destinations.until(destination);
        let is_retried = call.patience == Patience::Persistent && self.destinations.is_retried(destination);
        let left = match (call.patience, backed_off) {
            _ if is_retried => 0,
            (Patience::Background | Patience::Persistent, Some(until_ms)) => {
                return Err(FederationError::BackingOff { destination: destination.clone(), until_ms });
            }
            (Patience::Now, Some(_)) | (Patience::Probe, _) => 0,
            _ if call.timeout.is_some() || !call.is_repeatable => 0,
            (_, None) => self.settings.retries.short,
        };
        if call.patience == Patience::Persistent {
            self.destinations.delivery_begins(destination);
        }
        Ok(Attempts { left, failed: 0, began: self.clock.now_ms(), backed_off: backed_off.is_some() })
    }

    /// Returns `Continue` when it is time for the next attempt; otherwise records how the destination fares, and
    /// returns the result.
    pub(super) async fn settle<T>(
        &self,
        destination: &ServerName,
        call: &Call,
        attempts: &mut Attempts,
        result: Result<T, FederationError>,
    ) -> ControlFlow<Result<T, FederationError>> {
        match &result {
            _ if call.patience == Patience::Probe => {}
            Ok(_) => {
                // First: a delivery that is under way learns of it.
                let is_delivery = call.patience == Patience::Persistent;
                self.destinations.answered(destination, is_delivery).await;
                if is_delivery {
                    self.destinations.delivery_ends(destination);
                }
            }
            Err(error) if attempts.left > 0 && error.is_worth_another_try() => {
                tracing::debug!("trying again: {error}");
                self.clock.sleep(self.pause(attempts.failed)).await;
                attempts.left -= 1;
                attempts.failed += 1;
                return ControlFlow::Continue(());
            }
            Err(error) => self.note_failure(destination, call, attempts, error).await,
        }
        ControlFlow::Break(result)
    }

    async fn note_failure(&self, destination: &ServerName, call: &Call, attempts: &Attempts, error: &FederationError) {
        let is_locked_out = call.unauthorized_is_outage && error.status() == Some(StatusCode::UNAUTHORIZED);
        // A limit that a user, or the endpoint, sets says nothing about the destination.
        let is_short = call.timeout.is_some_and(|timeout| timeout < self.settings.timeout);
        let is_impatience = is_short && matches!(error, FederationError::Timeout(_));
        let is_outage = (error.is_outage() && !is_impatience) || is_locked_out;
        if call.patience == Patience::Persistent {
            // A server that asks to be left alone is not tried at once although it is up.
            let heard_from = self.destinations.delivery_ends(destination) && error.retry_after().is_none();
            if is_outage && heard_from && self.destinations.retry_although_up(destination) {
                tracing::debug!("trying again although it failed and is up: {error}");
                return;
            }
            let pause = error.retry_after().unwrap_or_default();
            if is_outage && !heard_from && error.is_worth_a_later_try() && self.destinations.retry(destination, pause) {
                tracing::debug!("trying again later: {error}");
                return;
            }
            // It is no failure, however often: what a user does may be limited, and what everybody does is not.
            if error.is_too_many_requests() && self.destinations.retry_in_any_case(destination, pause) {
                tracing::debug!("trying again when it is not too much: {error}");
                return;
            }
            if let Some(pause) = error.proxy_left_alone_for()
                && self.destinations.retry_after(destination, pause)
            {
                tracing::debug!("trying again when the proxy may work: {error}");
                return;
            }
            self.destinations.end_retries(destination);
        }
        // A user who asks a server that is backed off must not prolong that.
        if is_outage && !attempts.backed_off {
            self.destinations.failed(destination, attempts.began, error).await;
        }
    }

    /// How long to wait after a failure of a call that `failed` so many times before.
    fn pause(&self, failed: u32) -> Duration {
        let pause = Duration::from_millis(FIRST_PAUSE_MS.saturating_mul(2_u64.saturating_pow(failed)));
        with_jitter(pause.min(self.settings.retries.short_delay), &self.random)
    }
}
