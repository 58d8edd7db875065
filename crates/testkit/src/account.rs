//! Rows of users.

use plexus_store::repo::users::User;

/// Returns the row of an ordinary user without a password, created at 1 ms.
#[must_use]
pub fn account(user_id: &str) -> User {
    User {
        user_id: user_id.to_owned(),
        password_hash: None,
        created_ts: 1,
        is_guest: false,
        is_admin: false,
        user_type: None,
        appservice_id: None,
        deactivated: false,
        erased: false,
        locked: false,
        suspended: false,
        shadow_banned: false,
    }
}
