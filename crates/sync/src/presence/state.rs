//! One user's presence and how events change it.

use std::collections::HashMap;
use std::time::Duration;

use plexus_protocol::json::ObjectWriter;
use plexus_store::repo::presence::StoredPresence;

use super::PresenceSettings;

/// The values of `presence`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum PresenceState {
    /// `offline`
    #[default]
    Offline,
    /// `unavailable`: connected, but idle.
    Unavailable,
    /// `online`
    Online,
}

impl PresenceState {
    /// Returns the value of `presence`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Unavailable => "unavailable",
            Self::Online => "online",
        }
    }

    /// Reads the value of `presence`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Offline, Self::Unavailable, Self::Online].into_iter().find(|state| state.as_str() == text)
    }
}

/// A user's presence as others see it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PresenceView {
    /// `presence`
    pub state: PresenceState,
    /// `status_msg`, the user's own words.
    pub status_msg: Option<String>,
    /// When the user last did something, Unix ms.
    pub last_active_ms: Option<u64>,
    /// Whether that was a moment ago.
    pub currently_active: bool,
}

impl PresenceView {
    /// Converts the stored presence. It is from an earlier run: the user is not connected now.
    pub(super) fn last_known(stored: StoredPresence) -> Self {
        Self {
            state: PresenceState::Offline,
            status_msg: stored.status_msg,
            last_active_ms: (stored.last_active_ts > 0).then_some(stored.last_active_ts),
            currently_active: false,
        }
    }

    /// Returns the response of `GET /presence/{userId}/status`.
    #[must_use]
    pub fn status_json(&self, now_ms: u64) -> String {
        let mut out = String::new();
        let mut members = ObjectWriter::open(&mut out);
        self.write(&mut members, now_ms);
        members.close();
        out
    }

    /// Writes the members of an `m.presence` event's content.
    pub fn write(&self, out: &mut ObjectWriter<'_>, now_ms: u64) {
        out.string("presence", self.state.as_str());
        if let Some(status) = &self.status_msg {
            out.string("status_msg", status);
        }
        if let Some(last) = self.last_active_ms {
            out.number("last_active_ago", now_ms.saturating_sub(last));
        }
        if self.state != PresenceState::Offline {
            out.raw("currently_active", if self.currently_active { "true" } else { "false" });
        }
    }
}

/// The presence of one user. Methods that change it return whether the change is to be published.
#[derive(Debug, Default)]
pub(super) struct UserPresence {
    pub view: PresenceView,
    /// Whether the status message is known, or still to be read from the database.
    pub status_known: bool,
    /// Sync requests in progress.
    syncing: u32,
    /// When the last one ended, Unix ms.
    last_sync_ms: u64,
    devices: HashMap<Box<str>, PresenceState>,
    /// Whether the user is of another server, which sends the presence.
    remote: bool,
}

/// How long the presence of a remote user is kept without an update, in ms: the server may have failed.
const REMOTE_TIMEOUT_MS: u64 = 30 * 60 * 1_000;

impl UserPresence {
    pub(super) fn set(&mut self, state: PresenceState, status_msg: Option<String>, now: u64) -> bool {
        let mut view = PresenceView { state, status_msg, ..self.view.clone() };
        if state == PresenceState::Online {
            view.last_active_ms = Some(now);
        }
        view.currently_active = state == PresenceState::Online;
        self.status_known = true;
        // A user without a sync request goes offline after the same time as one whose last has ended.
        self.last_sync_ms = now;
        self.replace(view)
    }

    pub(super) fn active(&mut self, now: u64) -> bool {
        let mut view = self.view.clone();
        if view.state == PresenceState::Offline && self.syncing == 0 {
            self.last_sync_ms = now;
        }
        view.state = PresenceState::Online;
        view.last_active_ms = Some(now);
        view.currently_active = true;
        self.replace(view)
    }

    pub(super) fn set_remote(&mut self, view: PresenceView, now: u64) -> bool {
        self.remote = true;
        self.status_known = true;
        self.last_sync_ms = now;
        self.replace(view)
    }

    /// Whether the user is of this server.
    pub(super) fn is_local(&self) -> bool {
        !self.remote
    }

    pub(super) fn sync_started(&mut self, device: &str, state: PresenceState, now: u64) -> bool {
        self.syncing += 1;
        let before = self.devices.insert(device.into(), state).unwrap_or_default();
        let mut view = self.view.clone();
        let came_back = state == PresenceState::Online && before < state;
        if view.state == PresenceState::Offline || came_back {
            view.state = state;
            if state == PresenceState::Online {
                view.last_active_ms = Some(now);
                view.currently_active = true;
            }
        } else if self.devices.values().all(|device| *device < PresenceState::Online) {
            view.state = PresenceState::Unavailable;
            view.currently_active = false;
        }
        self.replace(view)
    }

    pub(super) fn sync_ended(&mut self, now: u64) {
        self.syncing = self.syncing.saturating_sub(1);
        self.last_sync_ms = now;
    }

    /// Restores the status message of an earlier run of the server.
    pub(super) fn restore_status(&mut self, status_msg: Option<String>) {
        if !self.status_known {
            self.view.status_msg = status_msg;
            self.status_known = true;
        }
    }

    /// Lets time pass.
    pub(super) fn expire(&mut self, settings: &PresenceSettings, now: u64) -> bool {
        let mut view = self.view.clone();
        if self.offline_at(settings).is_some_and(|at| at <= now) {
            self.devices.clear();
            view.state = PresenceState::Offline;
            view.currently_active = false;
        } else if view.state == PresenceState::Online && !self.remote {
            let idle = now.saturating_sub(view.last_active_ms.unwrap_or(0));
            if idle >= millis(settings.idle_after) {
                view.state = PresenceState::Unavailable;
            }
            view.currently_active &= idle < millis(settings.active_for);
        }
        self.replace(view)
    }

    /// Returns the next moment (Unix ms) at which [`Self::expire`] would do something.
    pub(super) fn deadline(&self, settings: &PresenceSettings) -> Option<u64> {
        if self.remote {
            return self.offline_at(settings);
        }
        let last_active = self.view.last_active_ms.unwrap_or(0);
        let online = self.view.state == PresenceState::Online;
        let inactive = self.view.currently_active.then(|| last_active + millis(settings.active_for));
        let idle = online.then(|| last_active + millis(settings.idle_after));
        [self.offline_at(settings), inactive, idle].into_iter().flatten().min()
    }

    fn offline_at(&self, settings: &PresenceSettings) -> Option<u64> {
        let present = self.view.state != PresenceState::Offline && self.syncing == 0;
        let after = if self.remote { REMOTE_TIMEOUT_MS } else { millis(settings.offline_after) };
        present.then(|| self.last_sync_ms + after)
    }

    /// A new state, status or activity is published; not every moment at which the user is still active.
    fn replace(&mut self, view: PresenceView) -> bool {
        let is_published = view.state != self.view.state
            || view.status_msg != self.view.status_msg
            || view.currently_active != self.view.currently_active;
        self.view = view;
        is_published
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(presence: &mut UserPresence, now: u64) -> PresenceState {
        presence.expire(&PresenceSettings::default(), now);
        presence.view.state
    }

    #[test]
    fn a_user_who_syncs_but_does_nothing_becomes_unavailable_and_then_offline() {
        let settings = PresenceSettings::default();
        let mut presence = UserPresence::default();
        assert!(presence.sync_started("A", PresenceState::Online, 1_000));
        assert_eq!(presence.deadline(&settings), Some(61_000));
        assert!(presence.expire(&settings, 61_000));
        assert!(!presence.view.currently_active);
        assert_eq!(presence.deadline(&settings), Some(301_000));
        assert_eq!(passes(&mut presence, 301_000), PresenceState::Unavailable);
        assert_eq!(presence.deadline(&settings), None);
        presence.sync_ended(400_000);
        assert_eq!(presence.deadline(&settings), Some(430_000));
        assert_eq!(passes(&mut presence, 430_000), PresenceState::Offline);
        assert_eq!(presence.deadline(&settings), None);
    }

    #[test]
    fn activity_is_published_once() {
        let mut presence = UserPresence::default();
        assert!(presence.active(5));
        assert!(!presence.active(6));
        assert_eq!(presence.view.last_active_ms, Some(6));
    }

    #[test]
    fn the_most_present_device_counts() {
        let mut presence = UserPresence::default();
        presence.sync_started("A", PresenceState::Online, 1);
        presence.sync_started("B", PresenceState::Unavailable, 2);
        assert_eq!(presence.view.state, PresenceState::Online);
        presence.sync_started("A", PresenceState::Unavailable, 3);
        assert_eq!(presence.view.state, PresenceState::Unavailable);
        presence.sync_started("B", PresenceState::Online, 4);
        assert_eq!(presence.view.state, PresenceState::Online);
    }
}
