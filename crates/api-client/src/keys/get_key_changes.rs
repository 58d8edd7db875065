//! GET /_matrix/client/v3/keys/changes

use std::collections::BTreeSet;
use std::sync::Arc;

use plexus_delivery::SyncToken;
use plexus_http::{ApiError, AuthGuest, JsonBody, Query, State};
use plexus_protocol::id::UserId;
use plexus_rooms::{Membership, MembershipKind, Room, RoomView, Rooms, UserRooms};
use plexus_store::{Database, DbError, Position, RoomNid, repo};
use serde::{Deserialize, Serialize};

const MEMBER: &str = "m.room.member";

#[derive(Debug, Deserialize)]
pub struct Span {
    from: String,
    to: String,
}

#[derive(Debug, Default, Serialize)]
pub struct Response {
    changed: BTreeSet<UserId>,
    left: BTreeSet<UserId>,
}

/// Whose keys a client should ask for again, having last been told at `from`. As in Synapse what came after `to` is told,
/// too: the client only asks once more than it had to.
pub async fn handle(
    AuthGuest(requester): AuthGuest,
    State(rooms): State<Arc<Rooms>>,
    State(db): State<Database>,
    Query(span): Query<Span>,
) -> Result<JsonBody<Response>, ApiError> {
    let from = position(&span.from, "from")?;
    position(&span.to, "to")?;
    let memberships = rooms.memberships().of(&requester.user_id).await.map_err(|error| ApiError::internal(&error))?;
    let changes = Changes { rooms, db, user: &requester.user_id, memberships, from };
    let response = changes.collect().await.map_err(|error| ApiError::internal(&error))?;
    Ok(JsonBody(response))
}

fn position(token: &str, name: &str) -> Result<Position, ApiError> {
    let token: Result<SyncToken, _> = token.parse();
    token.map(|token| token.position).map_err(|_| ApiError::invalid_param(format!("{name}: Invalid stream token")))
}

struct Changes<'a> {
    rooms: Arc<Rooms>,
    db: Database,
    user: &'a UserId,
    memberships: UserRooms,
    from: Position,
}

impl Changes<'_> {
    async fn collect(&self) -> Result<Response, DbError> {
        let mut changed = BTreeSet::new();
        let mut gone = BTreeSet::new();
        for membership in self.memberships.iter() {
            let Some(room) = self.encrypted_room(membership.room).await? else { continue };
            self.encounters(membership, &room, &mut changed, &mut gone).await?;
        }
        for user in self.changed_devices().await? {
            if user == *self.user || self.shares_encrypted_room(&user).await? {
                changed.insert(user);
            }
        }
        let mut left = BTreeSet::new();
        for user in gone {
            if user != *self.user && !self.shares_encrypted_room(&user).await? {
                left.insert(user);
            }
        }
        Ok(Response { changed, left })
    }

    /// With whom the user came together in a room since `from`, and who parted.
    async fn encounters(
        &self,
        membership: &Membership,
        room: &Room,
        changed: &mut BTreeSet<UserId>,
        gone: &mut BTreeSet<UserId>,
    ) -> Result<(), DbError> {
        let view = room.view();
        let is_new = membership.position > self.from;
        match membership.kind {
            MembershipKind::Join if is_new => changed.extend(joined(&view)),
            MembershipKind::Join => {
                for user in self.changed_members(membership.room).await? {
                    match view.state.membership(user.as_str()) {
                        Some(MembershipKind::Join) => changed.insert(user),
                        _ => gone.insert(user),
                    };
                }
            }
            MembershipKind::Leave | MembershipKind::Ban if is_new => gone.extend(joined(&view)),
            _ => {}
        }
        Ok(())
    }

    async fn changed_members(&self, room: RoomNid) -> Result<Vec<UserId>, DbError> {
        let from = self.from;
        let changed: Vec<String> = self.db.read(move |tx| repo::device_lists::members_changed(tx, room, from)).await?;
        Ok(changed.into_iter().filter_map(|user| user.try_into().ok()).collect())
    }

    async fn changed_devices(&self) -> Result<Vec<UserId>, DbError> {
        let (from, me) = (self.from, self.user.clone());
        let stored: Vec<String> = self
            .db
            .read::<_, DbError, _>(move |tx| {
                let mut users = repo::device_lists::changed_users(tx, from, Position::MAX)?;
                users.extend(repo::device_lists::signed_by(tx, me.as_str(), from, Position::MAX)?);
                Ok(users)
            })
            .await?;
        Ok(stored.into_iter().filter_map(|user| user.try_into().ok()).collect())
    }

    async fn shares_encrypted_room(&self, other: &UserId) -> Result<bool, DbError> {
        let theirs = self.rooms.memberships().of(other).await?;
        for room in theirs.joined() {
            let mine = self.memberships.get(room).is_some_and(|mine| mine.kind == MembershipKind::Join);
            if mine && self.encrypted_room(room).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn encrypted_room(&self, room: RoomNid) -> Result<Option<Arc<Room>>, DbError> {
        let room = self.rooms.get_readable_nid(room).await?;
        Ok(room.filter(|room| room.view().state.get("m.room.encryption", "").is_some()))
    }
}

fn joined(view: &RoomView) -> impl Iterator<Item = UserId> {
    view.state
        .of_type(MEMBER)
        .filter(|entry| entry.membership == Some(MembershipKind::Join))
        .filter_map(|entry| UserId::try_from(&*entry.state_key).ok())
}
