//! The requests of `plexus user` about accounts, handled by the running server, or by the command itself on the
//! database of a stopped one.

use plexus_accounts::{Administration, AdministrationError, Deactivation, PAGE_ACCOUNTS};
use plexus_protocol::id::UserId;
use plexus_service::{DeviceInfo, UserDeactivation, UserInfo};
use serde::{Deserialize, Serialize};

/// A command's request. `user` is a localpart or a whole user id.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the variants describe their fields")]
pub enum UserRequest {
    /// List the accounts after the user id `after`; empty: from the first on.
    List { after: String },
    /// Show an account and its devices.
    Show { user: String },
    /// Set a new password, and optionally end all sessions.
    SetPassword { user: String, password: String, end_sessions: bool },
    /// Make the user an administrator, or take that back.
    SetAdmin { user: String, admin: bool },
    /// Lock or unlock the account.
    SetLocked { user: String, locked: bool },
    /// Close the account for good.
    Deactivate { user: String, erase: bool },
}

/// The result of a request.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the variants describe their fields")]
pub enum UserReply {
    /// A page of accounts, and whether there are more after it.
    Page { users: Vec<UserInfo>, more: bool },
    /// One account.
    One { user: UserInfo, devices: Vec<DeviceInfo> },
    /// The change was made; `changed` is false if nothing had to be changed.
    Done { user_id: UserId, changed: bool },
    /// The account is closed. A running server takes the user out of all rooms now, a stopped one at its next start.
    Deactivated { user_id: UserId, leaving_rooms: LeavingRooms },
    /// Nothing was changed.
    Failed { error: String },
}

/// When a deactivated user leaves all rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeavingRooms {
    /// It has begun already.
    Now,
    /// When the server starts: it is recorded in the database.
    AtNextStart,
}

/// Handles the requests of operators.
pub struct UserAdmin {
    administration: Administration,
    closing: Closing,
}

/// How accounts are closed.
pub enum Closing {
    /// By a running server, which takes the users out of their rooms.
    Running(UserDeactivation),
    /// In the database alone, where the rest is recorded for the next start.
    Stopped(Deactivation),
}

impl UserAdmin {
    /// Creates the service.
    #[must_use]
    pub fn new(administration: Administration, closing: Closing) -> Self {
        Self { administration, closing }
    }

    /// Handles a request.
    pub async fn carry_out(&self, request: UserRequest) -> UserReply {
        match self.try_to(request).await {
            Ok(reply) => reply,
            Err(error) => UserReply::Failed { error: error.to_string() },
        }
    }

    async fn try_to(&self, request: UserRequest) -> Result<UserReply, AdministrationError> {
        let administration = &self.administration;
        Ok(match request {
            UserRequest::List { after } => {
                let users = administration.list(after).await?;
                let more = u32::try_from(users.len()).is_ok_and(|count| count == PAGE_ACCOUNTS);
                UserReply::Page { users: users.into_iter().map(UserInfo::from).collect(), more }
            }
            UserRequest::Show { user } => {
                let (user, devices) = administration.get(&user).await?;
                UserReply::One { user: user.into(), devices: devices.into_iter().map(DeviceInfo::from).collect() }
            }
            UserRequest::SetPassword { user, password, end_sessions } => {
                let user_id = administration.set_password(&user, &password, end_sessions).await?;
                tracing::info!("plexus user: {user_id} has a new password");
                UserReply::Done { user_id, changed: true }
            }
            UserRequest::SetAdmin { user, admin } => {
                let (user_id, changed) = administration.set_admin(&user, admin).await?;
                if changed {
                    let is = if admin { "is an administrator" } else { "is not an administrator" };
                    tracing::info!("plexus user: {user_id} {is} now");
                }
                UserReply::Done { user_id, changed }
            }
            UserRequest::SetLocked { user, locked } => {
                let (user_id, changed) = administration.set_locked(&user, locked).await?;
                if changed {
                    tracing::info!("plexus user: {user_id} was {}", if locked { "locked" } else { "unlocked" });
                }
                UserReply::Done { user_id, changed }
            }
            UserRequest::Deactivate { user, erase } => self.deactivate(&user, erase).await?,
        })
    }

    async fn deactivate(&self, user: &str, erase: bool) -> Result<UserReply, AdministrationError> {
        let (user_id, _) = self.administration.find(user).await?;
        let leaving_rooms = match &self.closing {
            Closing::Running(running) => {
                running.deactivate(&user_id, erase).await?;
                LeavingRooms::Now
            }
            Closing::Stopped(deactivation) => {
                deactivation.deactivate(&user_id, erase).await?;
                LeavingRooms::AtNextStart
            }
        };
        tracing::info!("plexus user: {user_id} was deactivated");
        Ok(UserReply::Deactivated { user_id, leaving_rooms })
    }
}
