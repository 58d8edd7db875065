//! Room versions, each defined by its differences from the previous one
//! ([Room Versions](https://spec.matrix.org/v1.19/rooms/)).
//!
//! Code never compares versions; it reads the rule it needs. A new version is a new constant.

#[cfg(test)]
mod tests;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A room version of the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RoomVersion {
    /// [Version 1](https://spec.matrix.org/v1.19/rooms/v1/).
    V1,
    /// [Version 2](https://spec.matrix.org/v1.19/rooms/v2/).
    V2,
    /// [Version 3](https://spec.matrix.org/v1.19/rooms/v3/).
    V3,
    /// [Version 4](https://spec.matrix.org/v1.19/rooms/v4/).
    V4,
    /// [Version 5](https://spec.matrix.org/v1.19/rooms/v5/).
    V5,
    /// [Version 6](https://spec.matrix.org/v1.19/rooms/v6/).
    V6,
    /// [Version 7](https://spec.matrix.org/v1.19/rooms/v7/).
    V7,
    /// [Version 8](https://spec.matrix.org/v1.19/rooms/v8/).
    V8,
    /// [Version 9](https://spec.matrix.org/v1.19/rooms/v9/).
    V9,
    /// [Version 10](https://spec.matrix.org/v1.19/rooms/v10/).
    V10,
    /// [Version 11](https://spec.matrix.org/v1.19/rooms/v11/).
    V11,
    /// [Version 12](https://spec.matrix.org/v1.19/rooms/v12/).
    V12,
}

/// The version is not one of 1 to 12.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("room version {0:?} is not supported")]
pub struct UnknownRoomVersion(pub String);

impl RoomVersion {
    /// The version of new rooms unless another is requested.
    pub const DEFAULT: Self = Self::V12;

    /// Every version, oldest first.
    pub const ALL: [Self; 12] = [
        Self::V1,
        Self::V2,
        Self::V3,
        Self::V4,
        Self::V5,
        Self::V6,
        Self::V7,
        Self::V8,
        Self::V9,
        Self::V10,
        Self::V11,
        Self::V12,
    ];

    /// Returns the version's name in `m.room.create`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "1",
            Self::V2 => "2",
            Self::V3 => "3",
            Self::V4 => "4",
            Self::V5 => "5",
            Self::V6 => "6",
            Self::V7 => "7",
            Self::V8 => "8",
            Self::V9 => "9",
            Self::V10 => "10",
            Self::V11 => "11",
            Self::V12 => "12",
        }
    }

    /// Returns the rules of the version.
    pub const fn rules(self) -> &'static RoomVersionRules {
        match self {
            Self::V1 => &RoomVersionRules::V1,
            Self::V2 => &RoomVersionRules::V2,
            Self::V3 => &RoomVersionRules::V3,
            Self::V4 => &RoomVersionRules::V4,
            Self::V5 => &RoomVersionRules::V5,
            Self::V6 => &RoomVersionRules::V6,
            Self::V7 => &RoomVersionRules::V7,
            Self::V8 => &RoomVersionRules::V8,
            Self::V9 => &RoomVersionRules::V9,
            Self::V10 => &RoomVersionRules::V10,
            Self::V11 => &RoomVersionRules::V11,
            Self::V12 => &RoomVersionRules::V12,
        }
    }
}

impl FromStr for RoomVersion {
    type Err = UnknownRoomVersion;
    fn from_str(version: &str) -> Result<Self, UnknownRoomVersion> {
        let known = Self::ALL.into_iter().find(|v| v.as_str() == version);
        known.ok_or_else(|| UnknownRoomVersion(version.to_owned()))
    }
}

impl fmt::Display for RoomVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for RoomVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for RoomVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let version = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        version.parse().map_err(serde::de::Error::custom)
    }
}

/// The formats of event ids and of references to events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventIdFormat {
    /// `$opaque:server`, chosen by the server and stored in the event; references are `[id, hashes]` pairs.
    Server,
    /// `$` and the reference hash in base64; references are plain ids.
    Base64,
    /// `$` and the reference hash in URL-safe base64; references are plain ids.
    UrlSafeBase64,
}

/// The state resolution algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateResolution {
    /// [Version 1](https://spec.matrix.org/v1.19/rooms/v1/#state-resolution): by depth and hash of the event id.
    V1,
    /// [Version 2](https://spec.matrix.org/v1.19/rooms/v2/#state-resolution): by power events and mainline.
    V2,
    /// [Version 2.1](https://spec.matrix.org/v1.19/rooms/v12/#state-resolution): like version 2, but starting from the
    /// empty state and with the conflicted state subgraph.
    V2_1,
}

/// All differences between room versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomVersionRules {
    /// The version that has these rules.
    pub version: RoomVersion,

    // Format
    /// The format of event ids and of references to events.
    pub event_id_format: EventIdFormat,
    /// Numbers must be integers of at most 53 bits; other JSON is not canonical (6+).
    pub strict_canonical_json: bool,
    /// Field sizes are limited in bytes; earlier versions limited characters (11+).
    pub strict_byte_limits: bool,
    /// The room id is the create event's reference hash; the create event has no `room_id` and is never among
    /// `auth_events` (12+).
    pub create_event_is_room_id: bool,
    /// A signing key must be valid at `origin_server_ts` (5+).
    pub enforce_key_validity: bool,

    /// The rules of redaction.
    pub redaction: RedactionRules,
    /// The authorization rules.
    pub auth: AuthRules,
    /// The state resolution algorithm.
    pub state_resolution: StateResolution,
}

/// The keys that redaction keeps, beyond those that every version keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RedactionRules {
    /// `aliases` of `m.room.aliases` (1-5).
    pub keep_aliases: bool,
    /// `allow` of `m.room.join_rules` (8+).
    pub keep_join_rules_allow: bool,
    /// `join_authorised_via_users_server` of `m.room.member` (9+).
    pub keep_member_authorised_via: bool,
    /// Top-level `origin`, `membership` and `prev_state` (1-10).
    pub keep_obsolete_top_level: bool,
    /// All of `m.room.create`'s content, not only `creator` (11+).
    pub keep_create_content: bool,
    /// `invite` of `m.room.power_levels` (11+).
    pub keep_power_levels_invite: bool,
    /// `redacts` of `m.room.redaction`'s content (11+).
    pub keep_redaction_redacts: bool,
    /// `third_party_invite.signed` of `m.room.member` (11+).
    pub keep_member_third_party_signed: bool,
    /// `m.room.redaction` names its target in `content` instead of at the top level (11+).
    pub redacts_in_content: bool,
}

/// Differences in the authorization rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthRules {
    /// `m.room.redaction` is allowed by the redact level or the sender's server; later versions check this only when
    /// applying redactions (1-2).
    pub check_redaction: bool,
    /// `m.room.aliases` is allowed from the server of its state key, member or not (1-5).
    pub special_case_aliases: bool,
    /// `notifications` in power levels are checked like `events` (6+).
    pub check_notifications_levels: bool,
    /// `knock` is a membership and a join rule (7+).
    pub knocking: bool,
    /// `restricted` is a join rule (8+).
    pub restricted_joins: bool,
    /// `knock_restricted` is a join rule (10+).
    pub knock_restricted: bool,
    /// Power levels must be integers, not strings or floats (10+).
    pub integer_power_levels: bool,
    /// The room's creator is the create event's sender, not `content.creator` (11+).
    pub creator_is_sender: bool,
    /// Creators (the create event's sender and `additional_creators`) stand above all power levels (12+).
    pub privileged_creators: bool,
}

impl RoomVersionRules {
    /// The rules of version 1.
    pub const V1: Self = Self {
        version: RoomVersion::V1,
        event_id_format: EventIdFormat::Server,
        strict_canonical_json: false,
        strict_byte_limits: false,
        create_event_is_room_id: false,
        enforce_key_validity: false,
        redaction: RedactionRules::V1,
        auth: AuthRules::V1,
        state_resolution: StateResolution::V1,
    };
    /// Version 2: a new state resolution algorithm.
    pub const V2: Self = Self { version: RoomVersion::V2, state_resolution: StateResolution::V2, ..Self::V1 };
    /// Version 3: event ids are hashes; redactions are checked when they are applied.
    pub const V3: Self =
        Self { version: RoomVersion::V3, event_id_format: EventIdFormat::Base64, auth: AuthRules::V3, ..Self::V2 };
    /// Version 4: event ids in URL-safe base64.
    pub const V4: Self = Self { version: RoomVersion::V4, event_id_format: EventIdFormat::UrlSafeBase64, ..Self::V3 };
    /// Version 5: signing keys expire.
    pub const V5: Self = Self { version: RoomVersion::V5, enforce_key_validity: true, ..Self::V4 };
    /// Version 6: strict canonical JSON; no special treatment of aliases.
    pub const V6: Self = Self {
        version: RoomVersion::V6,
        strict_canonical_json: true,
        redaction: RedactionRules::V6,
        auth: AuthRules::V6,
        ..Self::V5
    };
    /// Version 7: knocking.
    pub const V7: Self = Self { version: RoomVersion::V7, auth: AuthRules::V7, ..Self::V6 };
    /// Version 8: restricted joins.
    pub const V8: Self =
        Self { version: RoomVersion::V8, redaction: RedactionRules::V8, auth: AuthRules::V8, ..Self::V7 };
    /// Version 9: redaction keeps the authorising user of a restricted join.
    pub const V9: Self = Self { version: RoomVersion::V9, redaction: RedactionRules::V9, ..Self::V8 };
    /// Version 10: restricted joins with knocking; power levels are integers.
    pub const V10: Self = Self { version: RoomVersion::V10, auth: AuthRules::V10, ..Self::V9 };
    /// Version 11: revised redaction; the creator is the sender of the create event.
    pub const V11: Self = Self {
        version: RoomVersion::V11,
        strict_byte_limits: true,
        redaction: RedactionRules::V11,
        auth: AuthRules::V11,
        ..Self::V10
    };
    /// Version 12: the room id is the hash of the create event; creators are above all power levels; state resolution
    /// 2.1.
    pub const V12: Self = Self {
        version: RoomVersion::V12,
        create_event_is_room_id: true,
        auth: AuthRules::V12,
        state_resolution: StateResolution::V2_1,
        ..Self::V11
    };
}

impl RedactionRules {
    const V1: Self = Self {
        keep_aliases: true,
        keep_join_rules_allow: false,
        keep_member_authorised_via: false,
        keep_obsolete_top_level: true,
        keep_create_content: false,
        keep_power_levels_invite: false,
        keep_redaction_redacts: false,
        keep_member_third_party_signed: false,
        redacts_in_content: false,
    };
    const V6: Self = Self { keep_aliases: false, ..Self::V1 };
    const V8: Self = Self { keep_join_rules_allow: true, ..Self::V6 };
    const V9: Self = Self { keep_member_authorised_via: true, ..Self::V8 };
    const V11: Self = Self {
        keep_obsolete_top_level: false,
        keep_create_content: true,
        keep_power_levels_invite: true,
        keep_redaction_redacts: true,
        keep_member_third_party_signed: true,
        redacts_in_content: true,
        ..Self::V9
    };
}

impl AuthRules {
    const V1: Self = Self {
        check_redaction: true,
        special_case_aliases: true,
        check_notifications_levels: false,
        knocking: false,
        restricted_joins: false,
        knock_restricted: false,
        integer_power_levels: false,
        creator_is_sender: false,
        privileged_creators: false,
    };
    const V3: Self = Self { check_redaction: false, ..Self::V1 };
    const V6: Self = Self { special_case_aliases: false, check_notifications_levels: true, ..Self::V3 };
    const V7: Self = Self { knocking: true, ..Self::V6 };
    const V8: Self = Self { restricted_joins: true, ..Self::V7 };
    const V10: Self = Self { knock_restricted: true, integer_power_levels: true, ..Self::V8 };
    const V11: Self = Self { creator_is_sender: true, ..Self::V10 };
    const V12: Self = Self { privileged_creators: true, ..Self::V11 };
}
