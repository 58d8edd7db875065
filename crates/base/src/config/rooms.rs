use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::schema::{MapReader, choice, options};

options! {
    /// Rooms and directories.
    pub struct RoomsSection checked by check_rooms {
        /// Which new rooms are encrypted by default.
        acts encryption_enabled_by_default_for_room_type: EncryptionByDefault = EncryptionByDefault::Off,
        /// The user directory.
        acts user_directory: UserDirectory,
        /// Terms that users must agree to.
        later user_consent: Option<UserConsent>,
        /// Statistics of rooms and users.
        later stats: Stats,
        /// Server notices: messages of the server to its users, each in a room of their own.
        acts server_notices: Option<ServerNotices>,
        /// Whether the list of public rooms can be searched.
        acts enable_room_list_search: bool = true,
        /// Who may create which aliases: the first matching rule decides. Everybody may when not set.
        acts alias_creation_rules: Option<Vec<DirectoryRule>>,
        /// Who may publish which rooms: the first matching rule decides. Nobody may when not set.
        acts room_list_publication_rules: Option<Vec<DirectoryRule>>,
        /// Power levels of new rooms, by preset (`private_chat`, `trusted_private_chat`, `public_chat`); they replace
        /// whole members of the default content.
        acts default_power_level_content_override: Map<String, Value>,
        /// Whether users forget a room when they leave it or are kicked or banned, so that they can no longer read its
        /// history.
        acts forget_rooms_on_leave: bool = false,
        /// Rooms left out of /sync.
        acts exclude_rooms_from_sync: Vec<String>,
        /// Rooms whose members do not see each other's presence because of them.
        acts exclude_rooms_from_presence: Vec<String>,
    }
}

fn check_rooms(section: RoomsSection, map: &mut MapReader<'_, '_>) -> RoomsSection {
    for (name, override_) in &section.default_power_level_content_override {
        let known = ["private_chat", "trusted_private_chat", "public_chat"].contains(&name.as_str());
        if !known || !(override_.is_object() || override_.is_null()) {
            let message = format!(
                "found {name}; allowed are private_chat, trusted_private_chat and public_chat, each an object"
            );
            map.error("default_power_level_content_override", message);
        }
    }
    section
}

choice! {
    /// Which new rooms are encrypted by default.
    pub enum EncryptionByDefault {
        /// Every room.
        All = "all",
        /// Private rooms: presets `private_chat` and `trusted_private_chat`.
        Invite = "invite",
        /// None.
        Off = "off",
    }
}

options! {
    /// The user directory.
    pub struct UserDirectory {
        /// Whether the user directory can be searched.
        acts enabled: bool = true,
        /// Whether all local users are found, and not only those in public or shared rooms.
        acts search_all_users: bool = false,
        /// Whether local users are ranked before others with similar matches.
        acts prefer_local_users: bool = false,
        /// Whether users of other servers are excluded.
        acts exclude_remote_users: bool = false,
        /// Whether locked users are found.
        acts show_locked_users: bool = false,
    }
}

options! {
    /// Terms that users must agree to.
    pub struct UserConsent {
        /// The folder with the pages of the terms.
        later template_dir: PathBuf,
        /// The current version: the name of a page.
        later version: String,
        /// A message with a link to the terms, sent to users who have not agreed.
        later server_notice_content: Option<ServerNoticeContent>,
        /// Whether guests get that message too.
        later send_server_notice_to_guests: bool = false,
        /// When set, users who have not agreed cannot send, and get this error message.
        refused(
            "users could send messages without having agreed to the terms; remove it to accept that"
        ) block_events_error: Option<String>,
        /// Whether registration requires agreement.
        refused(
            "users could register without agreeing to the terms; set enable_registration to false, or \
             remove it"
        ) require_at_registration: bool = false,
        /// The name of the terms at registration.
        later policy_name: String = "Privacy Policy".to_owned(),
    }
}

options! {
    /// A message with a link to the terms.
    pub struct ServerNoticeContent {
        /// The kind of message.
        later msgtype: Option<String>,
        /// Its text; `%(consent_uri)s` stands for the link.
        later body: Option<String>,
    }
}

options! {
    /// Statistics of rooms and users.
    pub struct Stats {
        /// Whether they are collected.
        later enabled: bool = true,
    }
}

options! {
    /// Server notices.
    pub struct ServerNotices {
        /// The localpart of the user who sends them.
        acts system_mxid_localpart: String,
        /// That user's display name.
        acts system_mxid_display_name: Option<String> = Some("Notices".to_owned()),
        /// That user's avatar.
        acts system_mxid_avatar_url: Option<String>,
        /// The name of the room in which they are sent.
        acts room_name: Option<String> = Some("Server Notices".to_owned()),
        /// That room's avatar.
        acts room_avatar_url: Option<String>,
        /// That room's topic.
        acts room_topic: Option<String>,
        /// Whether users join that room automatically.
        acts auto_join: bool = false,
    }
}

options! {
    /// A rule about aliases or the list of public rooms. Members are globs.
    pub struct DirectoryRule {
        /// The requesting user.
        acts user_id: String = "*".to_owned(),
        /// The alias.
        acts alias: String = "*".to_owned(),
        /// The room.
        acts room_id: String = "*".to_owned(),
        /// The effect of the rule.
        acts action: DirectoryAction,
    }
}

choice! {
    /// The effect of a rule.
    pub enum DirectoryAction {
        /// Allows it.
        Allow = "allow",
        /// Refuses it.
        Deny = "deny",
    }
}
