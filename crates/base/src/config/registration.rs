use std::path::PathBuf;

use regex::Regex;

use super::Secret;
use crate::schema::{MapReader, choice, options};

options! {
    /// Who may create an account, and how.
    pub struct RegistrationSection checked by check_registration {
        /// Whether anybody may create an account.
        acts enable_registration: bool = false,
        /// Whether nobody may create an account: the old, inverted form of `enable_registration`.
        acts disable_registration: Option<bool>,
        /// Whether registration may be open without any verification. Spammers look for such servers.
        acts enable_registration_without_verification: bool = false,
        /// The addresses that a new account must validate.
        later registrations_require_3pid: Vec<Medium>,
        /// Whether registration does not ask for a telephone number even if it could.
        later disable_msisdn_registration: bool = false,
        /// Addresses that accounts may have; all addresses when not set.
        acts allowed_local_3pids: Option<Vec<AllowedThreepid>>,
        /// Whether users may look up others by address at identity servers.
        later enable_3pid_lookup: bool = true,
        /// Whether a new account requires a registration token.
        acts registration_requires_token: bool = false,
        /// Whether a registration token replaces a validated address.
        later enable_registration_token_3pid_bypass: bool = false,
        /// The shared secret with which accounts can be created even when registration is closed; `plexus register`
        /// uses it.
        acts registration_shared_secret: Option<Secret>,
        /// A file that holds `registration_shared_secret`. It is created when it does not exist.
        acts registration_shared_secret_path: Option<PathBuf>,
        /// The cost of Synapse's password hashes. New hashes here are argon2id.
        moot bcrypt_rounds: u32 = 12,
        /// Whether guests may use the server without an account.
        acts allow_guest_access: bool = false,
        /// The URL of the identity server that `/.well-known/matrix/client` suggests to clients.
        acts default_identity_server: Option<String>,
        /// Identity servers that validate addresses for this server.
        later account_threepid_delegates: ThreepidDelegates,
        /// Whether users may change their display name.
        acts enable_set_displayname: bool = true,
        /// Whether users may change their avatar.
        acts enable_set_avatar_url: bool = true,
        /// Whether users may change their addresses. False by default when another service manages accounts.
        acts enable_3pid_changes: bool = true,
        /// Rooms, by alias, that new users join.
        acts auto_join_rooms: Vec<String>,
        /// Whether such a room is created for the first user if it does not exist.
        acts autocreate_auto_join_rooms: bool = true,
        /// Whether a room created this way is open to other servers.
        acts autocreate_auto_join_rooms_federated: bool = true,
        /// The join rule preset of a room created this way.
        acts autocreate_auto_join_room_preset: AutoJoinPreset = AutoJoinPreset::PublicChat,
        /// The local user who creates these rooms and invites to them.
        acts auto_join_mxid_localpart: Option<String>,
        /// Whether guests join these rooms too.
        acts auto_join_rooms_for_guests: bool = true,
        /// Whether to report only at the end of registration that a user name is taken.
        acts inhibit_user_in_use_error: bool = false,
        /// Whether user names may begin with an underscore.
        acts allow_underscore_prefixed_localpart: bool = false,
        /// The name of `allow_underscore_prefixed_localpart` in the manual; Synapse ignores it.
        acts allow_underscore_prefixed_registration: Option<bool>,
        /// Users whose new devices are not announced to others: bots with very many devices.
        later dont_notify_new_devices_for: Vec<String>,
    }
}

choice! {
    /// A kind of address.
    pub enum Medium {
        /// Electronic mail.
        Email = "email",
        /// Telephone.
        Msisdn = "msisdn",
    }
}

choice! {
    /// The join rule preset of an automatically created room.
    pub enum AutoJoinPreset {
        /// Everybody can join.
        PublicChat = "public_chat",
        /// New users are invited.
        PrivateChat = "private_chat",
        /// New users are invited and get the creator's rights.
        TrustedPrivateChat = "trusted_private_chat",
    }
}

options! {
    /// A pattern of allowed addresses.
    pub struct AllowedThreepid {
        /// The kind of address.
        acts medium: Medium,
        /// A regular expression that the address must match.
        acts pattern: String,
    }
}

options! {
    /// Identity servers that validate addresses for this server.
    pub struct ThreepidDelegates {
        /// The one for telephone numbers.
        later msisdn: Option<String>,
    }
}

impl AllowedThreepid {
    /// Whether the pattern is of this medium and matches the address.
    #[must_use]
    pub fn matches(&self, medium: Medium, address: &str) -> bool {
        self.medium == medium && self.regex().is_ok_and(|regex| regex.is_match(address))
    }

    /// Returns the pattern, which matches from the start of an address, as in Python.
    fn regex(&self) -> Result<Regex, regex::Error> {
        Regex::new(&format!("^(?:{})", self.pattern))
    }
}

fn check_registration(
    mut section: RegistrationSection,
    map: &mut MapReader<'_, '_>,
) -> RegistrationSection {
    // A missing file is created at start.
    let path = section.registration_shared_secret_path.as_deref();
    let path = path.filter(|path| path.exists() || section.registration_shared_secret.is_some());
    section.registration_shared_secret = map.secret(
        "registration_shared_secret",
        section.registration_shared_secret,
        "registration_shared_secret_path",
        path,
    );
    for allowed in section.allowed_local_3pids.iter().flatten() {
        if let Err(error) = allowed.regex() {
            map.error("allowed_local_3pids", format!("found a pattern that cannot be used: {error}"));
        }
    }
    if let Some(disabled) = section.disable_registration {
        section.enable_registration = !disabled;
    }
    let invites = section.autocreate_auto_join_room_preset != AutoJoinPreset::PublicChat;
    if section.autocreate_auto_join_rooms && invites && section.auto_join_mxid_localpart.is_none() {
        map.error(
            "auto_join_mxid_localpart",
            "required when autocreate_auto_join_room_preset is not public_chat, but not set",
        );
    }
    if let Some(allowed) = section.allow_underscore_prefixed_registration {
        map.warn(
            "allow_underscore_prefixed_registration",
            "Synapse ignores this name; use allow_underscore_prefixed_localpart",
        );
        section.allow_underscore_prefixed_localpart |= allowed;
    }
    for (index, alias) in section.auto_join_rooms.iter().enumerate() {
        if !(alias.starts_with('#') && alias.contains(':')) {
            let message =
                format!("item {index} is {alias:?}; allowed are aliases such as #room:example.com");
            map.error("auto_join_rooms", message);
        }
    }
    section
}
