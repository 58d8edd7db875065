//! Remembers media that could not be fetched, so that a room full of dead links does not cause requests each time it is
//! viewed.

use std::time::Duration;

use plexus_base::Clock;
use plexus_net::FederationError;
use quick_cache::sync::Cache;

use super::Key;
use crate::error::{Failure, FetchError, MediaError, UploadError};

/// The most failures that are remembered. A key is 510 bytes at most.
const MAX_REMEMBERED: usize = 8192;
/// How long a failure is remembered when the server does not have the media, or it is too large.
const REFUSED_FOR: Duration = Duration::from_secs(300);
/// How long a failure is remembered when the server did not respond, or responded with something else.
const UNAVAILABLE_FOR: Duration = Duration::from_secs(60);

/// The failures. Owned by `Downloads`.
pub(super) struct Failures {
    clock: Clock,
    known: Cache<Key, (Failure, Duration)>,
}

impl Failures {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, known: Cache::new(MAX_REMEMBERED) }
    }

    /// Returns the recent failure because of which the media is not requested again yet.
    pub(super) fn get(&self, key: &Key) -> Option<Failure> {
        let (failure, until) = self.known.get(key)?;
        (until > self.clock.monotonic()).then_some(failure)
    }

    /// Remembers `error`, if another request would fail in the same way.
    pub(super) fn remember(&self, key: &Key, error: &FetchError) {
        let Some(failure) = lasting(error) else { return };
        let kept = if failure == Failure::Unavailable { UNAVAILABLE_FOR } else { REFUSED_FOR };
        self.known.insert(key.clone(), (failure, self.clock.monotonic().saturating_add(kept)));
    }

    pub(super) fn forget(&self, key: &Key) {
        self.known.remove(key);
    }
}

fn lasting(error: &FetchError) -> Option<Failure> {
    match error {
        FetchError::Server(FederationError::TooLarge { .. }) => Some(Failure::TooLarge),
        FetchError::Server(FederationError::Status { status, .. }) => match status.as_u16() {
            // The server is busy, or the content is still being uploaded.
            429 | 504 => None,
            400..500 => Some(Failure::NotFound),
            _ => Some(Failure::Unavailable),
        },
        // No request was made.
        FetchError::Server(
            FederationError::NotAllowed(_)
            | FederationError::OwnServer
            | FederationError::MalformedRequest(_)
            | FederationError::BackingOff { .. }
            | FederationError::NotSent(_),
        ) => None,
        FetchError::Server(_) | FetchError::Answer(_) | FetchError::BrokeOff | FetchError::TooSlow => {
            Some(Failure::Unavailable)
        }
        FetchError::Media(error) => {
            matches!(**error, MediaError::Upload(UploadError::TooLarge { .. })).then_some(Failure::TooLarge)
        }
        FetchError::Before(_) | FetchError::LimitExceeded { .. } | FetchError::Abandoned => None,
    }
}
