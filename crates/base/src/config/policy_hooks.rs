//! Servers that are asked over HTTP what users may do.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};

use super::{Config, Module, Secret};
use crate::schema::{MapReader, choice, options};

/// The module whose requests are built in.
pub(super) const ANTISPAM_MODULE: &str = "synapse_http_antispam.HTTPAntispam";
/// How long a response is waited for, unless the configuration says otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest time that a response can be waited for: clients wait that long, too.
const MAX_TIMEOUT: Duration = Duration::from_secs(60);

choice! {
    /// A question to a policy hook, or a notice: a callback of Synapse's modules.
    pub enum PolicyCallback {
        /// Whether an event may be sent, or is shown if it comes from another server.
        CheckEventForSpam = "check_event_for_spam",
        /// Whether an event of another server is dropped.
        ShouldDropFederatedEvent = "should_drop_federated_event",
        /// Whether a user may join a room.
        UserMayJoinRoom = "user_may_join_room",
        /// Whether a user may invite another one.
        UserMayInvite = "user_may_invite",
        /// Whether a user of another server may invite a local one.
        FederatedUserMayInvite = "federated_user_may_invite",
        /// Whether a user may invite an address. This server does not invite addresses, and never asks.
        UserMaySend3pidInvite = "user_may_send_3pid_invite",
        /// Whether a user may create a room.
        UserMayCreateRoom = "user_may_create_room",
        /// Whether a user may send a state event.
        UserMaySendStateEvent = "user_may_send_state_event",
        /// Whether a user may create a room alias.
        UserMayCreateRoomAlias = "user_may_create_room_alias",
        /// Whether a user may publish a room in the room directory.
        UserMayPublishRoom = "user_may_publish_room",
        /// Whether a user is found in the user directory.
        CheckUsernameForSpam = "check_username_for_spam",
        /// Whether an account may be registered.
        CheckRegistrationForSpam = "check_registration_for_spam",
        /// Whether a file may be stored.
        CheckMediaFileForSpam = "check_media_file_for_spam",
        /// Whether a user may log in.
        CheckLoginForSpam = "check_login_for_spam",
        /// Of a modified Synapse only; never asked.
        AcceptMakeJoin = "accept_make_join",
        /// Whether a local user's event is allowed in the state of its room.
        CheckEventAllowed = "check_event_allowed",
        /// Whether a room may be created with its parameters.
        OnCreateRoom = "on_create_room",
        /// Whether a room may be listed in, or taken out of, the room directory.
        CheckVisibilityCanBeModified = "check_visibility_can_be_modified",
        /// Whether a user may be deactivated.
        CheckCanDeactivateUser = "check_can_deactivate_user",
        /// A profile has changed.
        OnProfileUpdate = "on_profile_update",
        /// A user has been deactivated.
        OnUserDeactivationStatusChanged = "on_user_deactivation_status_changed",
    }
}

/// The callbacks of the module.
const ANTISPAM_CALLBACKS: [PolicyCallback; 11] = [
    PolicyCallback::UserMayJoinRoom,
    PolicyCallback::AcceptMakeJoin,
    PolicyCallback::UserMayInvite,
    PolicyCallback::UserMaySend3pidInvite,
    PolicyCallback::UserMayCreateRoom,
    PolicyCallback::UserMayCreateRoomAlias,
    PolicyCallback::UserMayPublishRoom,
    PolicyCallback::CheckUsernameForSpam,
    PolicyCallback::CheckLoginForSpam,
    PolicyCallback::CheckEventForSpam,
    PolicyCallback::FederatedUserMayInvite,
];

/// The callbacks that let events pass when the hook fails, unless the configuration says otherwise: a hook that is down
/// must not cut rooms off from other servers.
const OPEN_BY_DEFAULT: [PolicyCallback; 2] =
    [PolicyCallback::CheckEventForSpam, PolicyCallback::ShouldDropFederatedEvent];

/// The members of the module's `config`.
const ANTISPAM_MEMBERS: [&str; 7] =
    ["base_url", "authorization", "authorization_path", "do_ping", "enabled_callbacks", "async", "fail_open"];

options! {
    /// A server that is asked over HTTP what users may do. See
    /// [policy hooks](policy-hooks.md) for what it is sent.
    pub struct PolicyHook checked by check {
        /// The address of the hook. A callback is asked at `<base_url>/<name of the callback>`.
        acts base_url: String,
        /// The token that is sent in the `Authorization` header.
        acts authorization: Option<Secret>,
        /// A file with the token.
        acts authorization_path: Option<PathBuf>,
        /// The callbacks that the hook is asked about.
        acts enabled_callbacks: Vec<PolicyCallback>,
        /// Callbacks that are sent in the background if `true`: nobody waits for the response, and everything is
        /// allowed.
        acts r#async: BTreeMap<String, bool>,
        /// Whether a callback allows everything when the hook does not answer, by the name of the callback. Others
        /// than `check_event_for_spam` and `should_drop_federated_event` then refuse everything by default.
        acts fail_open: BTreeMap<String, bool>,
        /// Whether the hook is sent a `ping` at the start, until it answers.
        acts do_ping: bool = false,
        /// How long a response is waited for, at most a minute.
        acts timeout: Duration = DEFAULT_TIMEOUT,
    }
}

/// What is needed to ask a hook.
#[derive(Debug, Clone)]
pub struct PolicyHookSettings {
    /// The address, without a slash at its end.
    pub base_url: String,
    /// The token of the `Authorization` header.
    pub authorization: Option<Secret>,
    /// The callbacks that it is asked about.
    pub callbacks: Vec<PolicyCallback>,
    /// Those whose response nobody waits for.
    pub in_background: Vec<PolicyCallback>,
    /// Those that allow everything when the hook does not answer.
    pub fail_open: Vec<PolicyCallback>,
    /// Whether it is pinged at the start.
    pub do_ping: bool,
    /// How long a response is waited for.
    pub timeout: Duration,
}

impl PolicyCallback {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::CheckEventForSpam,
        Self::ShouldDropFederatedEvent,
        Self::UserMayJoinRoom,
        Self::UserMayInvite,
        Self::FederatedUserMayInvite,
        Self::UserMaySend3pidInvite,
        Self::UserMayCreateRoom,
        Self::UserMaySendStateEvent,
        Self::UserMayCreateRoomAlias,
        Self::UserMayPublishRoom,
        Self::CheckUsernameForSpam,
        Self::CheckRegistrationForSpam,
        Self::CheckMediaFileForSpam,
        Self::CheckLoginForSpam,
        Self::AcceptMakeJoin,
        Self::CheckEventAllowed,
        Self::OnCreateRoom,
        Self::CheckVisibilityCanBeModified,
        Self::CheckCanDeactivateUser,
        Self::OnProfileUpdate,
        Self::OnUserDeactivationStatusChanged,
    ];

    fn named(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|callback| callback.as_str() == name);
        found.ok_or_else(|| format!("{name:?} is no callback that can be asked by HTTP"))
    }
}

impl Config {
    /// Returns the policy hooks: those of `modules`, then those of `policy_hooks`.
    ///
    /// # Errors
    /// When one of them cannot be used, such as a file with a token that cannot be read: the reason.
    pub fn policy_hooks(&self) -> Result<Vec<PolicyHookSettings>, String> {
        let of_modules = self.modules.modules.iter().map(Module::policy_hook);
        of_modules.chain(self.modules.policy_hooks.iter().map(|hook| hook.settings().map_err(|(_, why)| why))).collect()
    }
}

impl Module {
    /// Returns the hook that the module would be.
    ///
    /// # Errors
    /// When its configuration cannot be used: the reason.
    pub(super) fn policy_hook(&self) -> Result<PolicyHookSettings, String> {
        let config = Members(self.config.as_ref());
        if let Some(name) = config.names().find(|name| !ANTISPAM_MEMBERS.contains(&name.as_str())) {
            return Err(format!("{name} is no parameter of {ANTISPAM_MODULE}"));
        }
        let enabled = match config.get("enabled_callbacks") {
            None => ANTISPAM_CALLBACKS.to_vec(),
            Some(Value::Array(names)) => {
                let names = names.iter().map(|name| module_callback(name.as_str().unwrap_or_default()));
                names.collect::<Result<_, _>>()?
            }
            Some(_) => return Err("enabled_callbacks: allowed is a list".to_owned()),
        };
        let hook = PolicyHook {
            base_url: config.text("base_url")?.ok_or("base_url is required")?,
            authorization: config.text("authorization")?.filter(|token| !token.is_empty()).map(Secret::new),
            authorization_path: config.text("authorization_path")?.map(PathBuf::from),
            enabled_callbacks: enabled,
            r#async: config.flags("async")?,
            fail_open: config.flags("fail_open")?,
            do_ping: config.get("do_ping").is_some_and(|value| value == &Value::Bool(true)),
            timeout: DEFAULT_TIMEOUT,
        };
        hook.settings().map_err(|(option, reason)| format!("{option}: {reason}"))
    }
}

fn module_callback(name: &str) -> Result<PolicyCallback, String> {
    let found = ANTISPAM_CALLBACKS.into_iter().find(|callback| callback.as_str() == name);
    found.ok_or_else(|| format!("enabled_callbacks: {name:?} is no callback of {ANTISPAM_MODULE}"))
}

impl PolicyHook {
    /// Returns the hook, with the token that is in a file.
    ///
    /// # Errors
    /// When an option is wrong: the option, and the reason.
    fn settings(&self) -> Result<PolicyHookSettings, (&'static str, String)> {
        if !self.base_url.starts_with("http://") && !self.base_url.starts_with("https://") {
            return Err(("base_url", format!("found {:?}; it begins with http:// or https://", self.base_url)));
        }
        if self.base_url.contains(['?', '#', '@']) || self.base_url.chars().any(|c| c.is_control() || c == ' ') {
            return Err(("base_url", "allowed is an address without a user, query or fragment".to_owned()));
        }
        if self.enabled_callbacks.is_empty() {
            return Err(("enabled_callbacks", "required, but empty; the hook would never be asked".to_owned()));
        }
        if self.timeout.is_zero() || self.timeout > MAX_TIMEOUT {
            return Err(("timeout", "allowed is more than 0 and at most 1m".to_owned()));
        }
        let authorization = match (&self.authorization, &self.authorization_path) {
            (Some(token), _) => Some(token.clone()),
            (None, Some(path)) => Some(token_in(path).map_err(|reason| ("authorization_path", reason))?),
            (None, None) => None,
        };
        let in_background = flagged(&self.r#async).map_err(|reason| ("async", reason))?;
        let fail_open = flagged(&self.fail_open).map_err(|reason| ("fail_open", reason))?;
        let by_default = OPEN_BY_DEFAULT.into_iter().map(|callback| (callback, true));
        let fail_open: Vec<(PolicyCallback, bool)> = by_default
            .filter(|(callback, _)| !fail_open.iter().any(|(named, _)| named == callback))
            .chain(fail_open.iter().copied())
            .collect();
        Ok(PolicyHookSettings {
            base_url: self.base_url.trim_end_matches('/').to_owned(),
            authorization,
            callbacks: self.enabled_callbacks.clone(),
            in_background: in_background
                .into_iter()
                .filter(|(_, is_set)| *is_set)
                .map(|(callback, _)| callback)
                .collect(),
            fail_open: fail_open.into_iter().filter(|(_, is_set)| *is_set).map(|(callback, _)| callback).collect(),
            do_ping: self.do_ping,
            timeout: self.timeout,
        })
    }
}

fn token_in(path: &Path) -> Result<Secret, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Ok(Secret::new(text.trim()))
}

fn flagged(flags: &BTreeMap<String, bool>) -> Result<Vec<(PolicyCallback, bool)>, String> {
    flags.iter().map(|(name, flag)| Ok((PolicyCallback::named(name)?, *flag))).collect()
}

/// Reports a hook that cannot be used.
fn check(hook: PolicyHook, map: &mut MapReader<'_, '_>) -> PolicyHook {
    if let Err((option, reason)) = hook.settings() {
        map.error(option, reason);
    }
    hook
}

/// The parameters of the module.
struct Members<'a>(Option<&'a Map<String, Value>>);

impl<'a> Members<'a> {
    fn names(&self) -> impl Iterator<Item = &'a String> {
        self.0.into_iter().flat_map(Map::keys)
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        self.0?.get(name).filter(|value| !value.is_null())
    }

    fn text(&self, name: &str) -> Result<Option<String>, String> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(_) => Err(format!("{name}: allowed is a string")),
        }
    }

    fn flags(&self, name: &str) -> Result<BTreeMap<String, bool>, String> {
        match self.get(name) {
            None => Ok(BTreeMap::new()),
            Some(Value::Object(flags)) => {
                let flags = flags.iter().map(|(key, flag)| Some((key.clone(), flag.as_bool()?)));
                flags
                    .collect::<Option<_>>()
                    .ok_or_else(|| format!("{name}: allowed is true or false for each callback"))
            }
            Some(_) => Err(format!("{name}: allowed is an object")),
        }
    }
}

#[cfg(test)]
mod tests;
