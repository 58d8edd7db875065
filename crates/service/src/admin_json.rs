//! Accounts, devices and registration tokens as JSON, under the names of Synapse's admin API.

use plexus_store::repo::devices::Device;
use plexus_store::repo::registration_tokens::RegistrationToken;
use plexus_store::repo::users::User;
use serde::{Deserialize, Serialize};

/// An account.
#[derive(Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are named as in Synapse's admin API")]
pub struct UserInfo {
    /// The user id.
    pub name: String,
    pub admin: bool,
    pub is_guest: bool,
    pub user_type: Option<String>,
    pub appservice_id: Option<String>,
    /// Whether a login with a password is possible.
    pub has_password: bool,
    pub deactivated: bool,
    pub erased: bool,
    pub locked: bool,
    pub suspended: bool,
    pub shadow_banned: bool,
    /// Unix ms.
    pub creation_ts: u64,
}

/// A device.
#[derive(Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are named as in Synapse's admin API")]
pub struct DeviceInfo {
    pub device_id: String,
    pub display_name: Option<String>,
    /// Unix ms.
    pub last_seen_ts: Option<u64>,
    pub last_seen_ip: Option<String>,
    pub last_seen_user_agent: Option<String>,
}

/// A registration token.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are named as in Synapse's admin API")]
pub struct RegistrationTokenInfo {
    pub token: String,
    pub uses_allowed: Option<u64>,
    pub pending: u64,
    pub completed: u64,
    /// Unix ms.
    pub expiry_time: Option<u64>,
}

impl From<User> for UserInfo {
    fn from(user: User) -> Self {
        Self {
            name: user.user_id,
            admin: user.is_admin,
            is_guest: user.is_guest,
            user_type: user.user_type,
            appservice_id: user.appservice_id,
            has_password: user.password_hash.is_some(),
            deactivated: user.deactivated,
            erased: user.erased,
            locked: user.locked,
            suspended: user.suspended,
            shadow_banned: user.shadow_banned,
            creation_ts: user.created_ts,
        }
    }
}

impl From<Device> for DeviceInfo {
    fn from(device: Device) -> Self {
        Self {
            device_id: device.device_id,
            display_name: device.display_name,
            last_seen_ts: device.last_seen_ts,
            last_seen_ip: device.last_seen_ip,
            last_seen_user_agent: device.last_seen_user_agent,
        }
    }
}

impl From<RegistrationToken> for RegistrationTokenInfo {
    fn from(token: RegistrationToken) -> Self {
        let RegistrationToken { token, uses_allowed, pending, completed, expiry_ts } = token;
        Self { token, uses_allowed, pending, completed, expiry_time: expiry_ts }
    }
}
