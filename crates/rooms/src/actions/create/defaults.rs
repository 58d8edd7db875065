//! The configured defaults of new rooms.

use plexus_base::config::{EncryptionByDefault, RoomsSection};
use plexus_protocol::json::Object;

use super::Preset;

/// The configured defaults of new rooms with a preset.
#[derive(Clone, Debug, Default)]
pub struct RoomDefaults {
    /// Replaces members of the `m.room.power_levels` content.
    pub power_levels: Object,
    /// Whether they are encrypted.
    pub encrypted: bool,
}

impl RoomDefaults {
    /// Returns the defaults of `default_power_level_content_override` and
    /// `encryption_enabled_by_default_for_room_type`.
    #[must_use]
    pub fn of(config: &RoomsSection, preset: Preset) -> Self {
        let name = match preset {
            Preset::PrivateChat => "private_chat",
            Preset::TrustedPrivateChat => "trusted_private_chat",
            Preset::PublicChat => "public_chat",
        };
        let power_levels = config.default_power_level_content_override.get(name);
        Self {
            power_levels: power_levels.and_then(|content| Object::from_serialize(content).ok()).unwrap_or_default(),
            encrypted: match config.encryption_enabled_by_default_for_room_type {
                EncryptionByDefault::All => true,
                EncryptionByDefault::Invite => preset != Preset::PublicChat,
                EncryptionByDefault::Off => false,
            },
        }
    }
}
