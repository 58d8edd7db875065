//! Policy hooks: servers of the operator that are asked over HTTP what users may do. The requests are those of
//! `synapse-http-antispam`, a module of Synapse: `POST <base_url>/<callback>` with the callback's parameters as JSON.
//! A response with success allows it; every other one with a JSON body refuses it, and its body reaches the client.
//!
//! Requests are never made while a room is locked.

mod hook;
mod rules;
mod spam;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use plexus_base::config::{PolicyCallback, PolicyHookSettings};
use plexus_base::{Background, Clock, Random};
use plexus_protocol::event::Pdu;
use plexus_protocol::json::{Object, Value as JsonValue};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::http::HttpClient;
use hook::{Failure, Hook, Verdict};

pub use rules::{AllowedEvent, RoomState};
pub use spam::{ClientInfo, MediaFileInfo, RegistrationVerdict, UserProfile};

/// Members of an event in a room that clients do not see.
const SERVER_MEMBERS: [&str; 6] = ["auth_events", "prev_events", "hashes", "signatures", "depth", "origin"];

/// The policy hooks of the configuration. In memory only; each process asks for what it does itself.
pub struct PolicyHooks {
    hooks: Vec<Arc<Hook>>,
    /// The callbacks that at least one hook is asked about.
    asked: CallbackSet,
    clock: Clock,
    random: Random,
}

/// A policy hook has refused something, or did not answer although it has to.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{error}")]
pub struct PolicyRefusal {
    /// The `errcode` for the client.
    pub errcode: String,
    /// The text for the client.
    pub error: String,
    /// Further members of the body that the client gets.
    pub fields: Map<String, Value>,
}

/// A set of callbacks, one bit each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct CallbackSet(u32);

impl FromIterator<PolicyCallback> for CallbackSet {
    fn from_iter<T: IntoIterator<Item = PolicyCallback>>(callbacks: T) -> Self {
        Self(callbacks.into_iter().fold(0, |bits, callback| bits | bit(callback)))
    }
}

impl CallbackSet {
    fn contains(self, callback: PolicyCallback) -> bool {
        self.0 & bit(callback) != 0
    }
}

const fn bit(callback: PolicyCallback) -> u32 {
    1 << callback as u32
}

impl fmt::Debug for PolicyHooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyHooks").field("asked", &self.asked).finish_non_exhaustive()
    }
}

impl PolicyHooks {
    /// Returns the hooks; `None` if there are none, so that nothing is spent on them.
    #[must_use]
    pub fn new(
        settings: Vec<PolicyHookSettings>,
        http: &Arc<HttpClient>,
        background: &Background,
        clock: Clock,
        random: Random,
    ) -> Option<Arc<Self>> {
        if settings.is_empty() {
            return None;
        }
        let share = http.max_connections() / settings.len();
        let hooks = settings.into_iter().map(|it| Arc::new(Hook::new(it, Arc::clone(http), background.clone(), share)));
        let hooks: Vec<_> = hooks.collect();
        let asked = CallbackSet(hooks.iter().fold(0, |bits, hook| bits | hook.callbacks().0));
        Some(Arc::new(Self { hooks, asked, clock, random }))
    }

    /// Pings the hooks that want it, until each has answered.
    pub async fn run_pings(self: Arc<Self>) {
        let pings = self.hooks.iter().filter(|hook| hook.wants_ping()).map(|hook| hook.ping(&self.clock, &self.random));
        futures_util::future::join_all(pings).await;
    }

    /// Whether any hook is asked about a callback.
    #[must_use]
    pub fn asks(&self, callback: PolicyCallback) -> bool {
        self.asked.contains(callback)
    }

    /// Asks every hook that the callback is configured for, one after the other. Returns the first response that has
    /// members, if any has.
    async fn ask(&self, callback: PolicyCallback, body: &impl Serialize) -> Result<Map<String, Value>, PolicyRefusal> {
        if !self.asks(callback) {
            return Ok(Map::new());
        }
        let body = Bytes::from(serde_json::to_vec(body).unwrap_or_default());
        // In a box, so that futures in which nothing is asked stay small.
        let asking: BoxFuture<'_, _> = Box::pin(self.ask_each(callback, body));
        asking.await
    }

    async fn ask_each(&self, callback: PolicyCallback, body: Bytes) -> Result<Map<String, Value>, PolicyRefusal> {
        let mut first = Map::new();
        for hook in self.hooks.iter().filter(|hook| hook.callbacks().contains(callback)) {
            if hook.is_in_background(callback) {
                Hook::send_in_background(hook, callback, body.clone());
                continue;
            }
            match hook.ask(callback, body.clone()).await {
                Ok(Verdict::Allowed(members)) if first.is_empty() => first = members,
                Ok(Verdict::Allowed(_)) => {}
                Ok(Verdict::Refused(members)) => return Err(PolicyRefusal::of(callback, members)),
                Err(failure) if hook.fails_open(callback) => hook.log(callback, &failure, "which is allowed now"),
                Err(failure) => {
                    hook.log(callback, &failure, "which is refused now");
                    return Err(PolicyRefusal::failed(&failure));
                }
            }
        }
        Ok(first)
    }

    /// Tells every hook that the callback is configured for about something that has happened, in the background.
    fn notify(&self, callback: PolicyCallback, body: &impl Serialize) {
        let body = Bytes::from(serde_json::to_vec(body).unwrap_or_default());
        for hook in self.hooks.iter().filter(|hook| hook.callbacks().contains(callback)) {
            Hook::send_in_background(hook, callback, body.clone());
        }
    }
}

impl PolicyRefusal {
    fn of(callback: PolicyCallback, mut fields: Map<String, Value>) -> Self {
        let mut text = |name: &str| match fields.remove(name) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        let errcode = text("errcode").unwrap_or_else(|| "M_FORBIDDEN".to_owned());
        let error = text("error").unwrap_or_else(|| refusal_text(callback).to_owned());
        Self { errcode, error, fields }
    }

    /// The hooks cannot be asked about an event.
    fn unwritable(pdu: &Pdu, error: &dyn fmt::Display) -> Self {
        tracing::error!(event = %pdu.event_id(), "a policy hook cannot be asked about an event: {error}");
        Self::with_error("The policy hook of this server could not be asked")
    }

    fn failed(failure: &Failure) -> Self {
        Self::with_error(match failure {
            Failure::NotJson { .. } => "Unexpected response from the policy hook of this server",
            Failure::NoResponse(_) | Failure::Unusable(_) | Failure::Timeout => {
                "The policy hook of this server could not be asked"
            }
        })
    }

    fn with_error(error: &str) -> Self {
        Self { errcode: "M_UNKNOWN".to_owned(), error: error.to_owned(), fields: Map::new() }
    }
}

/// Returns what the client reads when the hook gives no text.
fn refusal_text(callback: PolicyCallback) -> &'static str {
    match callback {
        PolicyCallback::CheckEventForSpam => "This message has been rejected as probable spam",
        PolicyCallback::UserMayJoinRoom => "Not allowed to join this room",
        PolicyCallback::UserMayInvite | PolicyCallback::FederatedUserMayInvite => "Not allowed to invite this user",
        PolicyCallback::UserMayCreateRoom | PolicyCallback::OnCreateRoom => "You are not permitted to create rooms",
        PolicyCallback::UserMayCreateRoomAlias => "You are not permitted to create this alias",
        PolicyCallback::UserMayPublishRoom => "You are not permitted to publish rooms to the room list",
        PolicyCallback::CheckVisibilityCanBeModified => "Not allowed to publish room",
        PolicyCallback::UserMaySendStateEvent => "You are not permitted to send the state event",
        PolicyCallback::CheckEventAllowed => "This event is not allowed in this context",
        PolicyCallback::CheckRegistrationForSpam => "Registration is not permitted",
        PolicyCallback::CheckLoginForSpam => "Login is not permitted",
        PolicyCallback::CheckMediaFileForSpam => "File rejected by the spam checker",
        PolicyCallback::CheckCanDeactivateUser => "Deactivation of this user is forbidden",
        _ => "Not permitted by a policy of this server",
    }
}

/// Returns the JSON of an event as clients see it, with its id. It stays text: events may be nested deeper than
/// serde_json reads values, and a hook that got less than the whole event would allow what it does not see.
fn client_event(pdu: &Pdu) -> Result<Box<RawValue>, PolicyRefusal> {
    let mut event = Object::parse(pdu.json()).map_err(|error| PolicyRefusal::unwritable(pdu, &error))?;
    for name in SERVER_MEMBERS {
        event.remove(name);
    }
    event.insert("event_id", pdu.event_id().as_str());
    event.insert("room_id", pdu.room_id().as_str());
    RawValue::from_string(JsonValue::Object(event).to_json()).map_err(|error| PolicyRefusal::unwritable(pdu, &error))
}

#[cfg(test)]
mod tests;
