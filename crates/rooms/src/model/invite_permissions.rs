//! Which invites the users of this server accept. Read from the database for each invite, so nothing is kept in memory.

use plexus_protocol::id::{ServerName, UserId};
use plexus_protocol::invite_permission::{BLOCKING, FILTERING, InviteDecision, InvitePermissions};
use plexus_store::repo::account_data::{self, AccountData};
use plexus_store::{Database, DbError, Tx};

use crate::model::limits::{Authority, LimitError};

/// The account data that says which invites a user accepts.
pub const INVITE_PERMISSION_TYPES: [&str; 2] = [BLOCKING, FILTERING];

/// Reads which invites users accept.
pub struct InvitePermissionReader {
    db: Database,
    server_name: ServerName,
    /// Whether users can filter invites (`msc4155_enabled`), besides blocking them all.
    filtering: bool,
}

impl InvitePermissionReader {
    pub(crate) fn new(db: Database, server_name: ServerName, filtering: bool) -> Self {
        Self { db, server_name, filtering }
    }

    /// Returns [`LimitError::InviteBlocked`] if a user of this server among `targets` does not accept invites by
    /// `sender`. Other servers check that of their users themselves.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn check(
        &self,
        authority: Authority,
        sender: &UserId,
        targets: impl IntoIterator<Item = &UserId>,
    ) -> Result<Result<(), LimitError>, DbError> {
        let own = self.server_name.as_str();
        let local = targets.into_iter().filter(|target| target.server_name() == own);
        let local: Vec<UserId> = local.cloned().collect();
        if authority == Authority::Server || local.is_empty() {
            return Ok(Ok(()));
        }
        let (sender, filtering) = (sender.clone(), self.filtering);
        let blocked = self.db.read(move |tx| {
            for target in &local {
                if read(tx, target, filtering)?.decide(&sender) == InviteDecision::Block {
                    return Ok(true);
                }
            }
            Ok::<_, DbError>(false)
        });
        Ok(if blocked.await? { Err(LimitError::InviteBlocked) } else { Ok(()) })
    }
}

fn read(tx: &mut Tx<'_>, user: &UserId, filtering: bool) -> Result<InvitePermissions, DbError> {
    let stored = account_data::global_of_types(tx, user.as_str(), &INVITE_PERMISSION_TYPES)?;
    Ok(invite_permissions(&stored, filtering))
}

/// Returns which invites a user accepts, from the global account data of the types [`INVITE_PERMISSION_TYPES`].
/// `filtering`: whether users can filter invites.
#[must_use]
pub fn invite_permissions(stored: &[AccountData], filtering: bool) -> InvitePermissions {
    let content = |event_type: &str| {
        let data = stored.iter().find(|data| data.event_type == event_type)?;
        Some(data.content.as_str())
    };
    InvitePermissions::from_account_data(content(BLOCKING), content(FILTERING).filter(|_| filtering))
}
