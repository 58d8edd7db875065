//! Accepts invites for users (`auto_accept_invites`): scheduled tasks, which are stored with the invites, join the
//! rooms.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use plexus_protocol::id::{RoomId, UserId};
use plexus_protocol::ignored_users::{IGNORED_USERS_TYPE, ignored_users};
use plexus_protocol::json::{Object, Value};
use plexus_protocol::membership::Membership;
use plexus_rooms::model::accepted_invites::{ACCEPT_TASK, InviteToAccept};
use plexus_rooms::{Authority, MembershipChange, MembershipChanger, MembershipError, Rooms};
use plexus_store::repo::account_data::{self, Scope};
use plexus_store::repo::bounds::BoundError;
use plexus_store::repo::users::{self, User};
use plexus_store::{Database, DbError, Tx};

use crate::tasks::{RunningTask, TaskHandler, TaskOutcome};

/// How many rooms are joined at the same time. Those of one user are joined one after the other.
const MAX_JOINING: u32 = 8;
/// The account data that lists a user's direct chats.
const DIRECT_CHATS: &str = "m.direct";

/// Accepts invites for users.
pub struct InviteAccepter {
    db: Database,
    rooms: Arc<Rooms>,
    members: Arc<MembershipChanger>,
}

impl InviteAccepter {
    /// Creates the service.
    #[must_use]
    pub fn new(db: Database, rooms: Arc<Rooms>, members: Arc<MembershipChanger>) -> Self {
        Self { db, rooms, members }
    }

    /// Joins the room, unless the invite has ended or the user ignores who sent it; and, as Synapse, notes a direct
    /// chat as such for the user.
    async fn accept(&self, user: UserId, invite: InviteToAccept) -> Result<(), MembershipError> {
        let id = user.clone();
        let read = move |tx: &mut Tx<'_>| {
            let ignored = account_data::get(tx, id.as_str(), "", IGNORED_USERS_TYPE)?;
            Ok::<_, DbError>((users::get(tx, id.as_str())?, ignored))
        };
        let (account, ignored) = self.db.read(read).await?;
        let Some(account) = account.filter(may_join) else { return Ok(()) };
        if ignored.is_some_and(|content| ignored_users(&content).contains(invite.sender.as_str())) {
            return Ok(());
        }
        match self.membership(&user, &invite.room_id).await? {
            Some(Membership::Invite) => {
                let change = MembershipChange {
                    room_id: invite.room_id.clone(),
                    sender: user.clone(),
                    target: user.clone(),
                    reason: None,
                    content: Object::new(),
                    via: Vec::new(),
                    transaction: None,
                    origin_server_ts: None,
                    authority: if account.is_admin { Authority::Administrator } else { Authority::User },
                };
                self.members.join(change, account.is_guest).await?;
            }
            // An earlier attempt may have joined.
            Some(Membership::Join) => {}
            _ => return Ok(()),
        }
        if invite.is_direct {
            let noted = self.db.write(move |tx| note_direct_chat(tx, &user, &invite)).await;
            match noted {
                Err(BoundError::Db(error)) => return Err(error.into()),
                Err(error) => tracing::info!("a direct chat was not noted: {error}"),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    async fn membership(&self, user: &UserId, room_id: &RoomId) -> Result<Option<Membership>, DbError> {
        let room = self.rooms.get(room_id).await?;
        Ok(room.and_then(|room| room.view().state.membership(user.as_str())))
    }
}

fn may_join(user: &User) -> bool {
    !user.deactivated && !user.locked && !user.suspended
}

/// Adds the room to the user's direct chats with the sender of the invite.
fn note_direct_chat(tx: &mut Tx<'_>, user: &UserId, invite: &InviteToAccept) -> Result<(), BoundError> {
    let stored = account_data::get(tx, user.as_str(), "", DIRECT_CHATS)?;
    let mut chats = stored.and_then(|json| Object::parse(&json).ok()).unwrap_or_default();
    let room = Value::from(invite.room_id.as_str());
    let with_sender = match chats.remove(invite.sender.as_str()) {
        Some(Value::Array(rooms)) if rooms.contains(&room) => return Ok(()),
        Some(Value::Array(mut rooms)) => {
            rooms.push(room);
            rooms
        }
        _ => vec![room],
    };
    chats.insert(invite.sender.as_str(), Value::Array(with_sender));
    account_data::put(tx, user, Scope::default(), DIRECT_CHATS, &chats.to_json())?;
    Ok(())
}

impl TaskHandler for InviteAccepter {
    fn kind(&self) -> &'static str {
        ACCEPT_TASK
    }

    fn max_running(&self) -> u32 {
        MAX_JOINING
    }

    fn keeps_ended(&self) -> bool {
        false
    }

    fn run(&self, task: RunningTask) -> BoxFuture<'_, TaskOutcome> {
        Box::pin(async move {
            let user = task.resource_id.as_deref().and_then(|user| UserId::try_from(user).ok());
            let (Some(user), Some(invite)) = (user, InviteToAccept::read(&task.parameters)) else {
                return TaskOutcome::Failed("the parameters are not those of an invite".to_owned());
            };
            match self.accept(user, invite).await {
                Ok(()) => TaskOutcome::Complete(None),
                Err(error) => TaskOutcome::Retry(error.to_string()),
            }
        })
    }
}
