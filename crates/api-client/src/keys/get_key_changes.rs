//! GET /_matrix/client/v3/keys/changes

use std::collections::BTreeSet;
use std::sync::Arc;

use plexus_http::{ApiError, AuthGuest, JsonBody, Query, State};
use plexus_protocol::id::UserId;
use plexus_protocol::membership::Membership;
use plexus_rooms::{RoomMembership, RoomView, Rooms, UserRooms, timeline};
use plexus_store::{Database, DbError, Position, RoomNid, Tx, repo};
use plexus_sync::SyncToken;
use serde::{Deserialize, Serialize};

const MEMBER: &str = "m.room.member";
/// How many rooms are read in one query.
const ROOMS_AT_ONCE: usize = 500;

#[derive(Debug, Deserialize)]
pub(crate) struct Span {
    from: String,
    to: String,
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct Response {
    changed: BTreeSet<UserId>,
    left: BTreeSet<UserId>,
}

/// Returns the users whose keys a client should query again after `from`. As in Synapse changes after `to` are
/// included: the client queries some users once more than it had to. As in `/sync`, rooms that are not encrypted count
/// too.
pub(crate) async fn handle(
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
        let mut found = Response::default();
        let mut stayed = Vec::new();
        for membership in self.memberships.iter() {
            if membership.position > self.from && self.is_encounter(membership).await? {
                self.encounter(membership, &mut found).await?;
            } else if membership.kind == Membership::Join {
                stayed.push(membership.room);
            }
        }
        for rooms in stayed.chunks(ROOMS_AT_ONCE) {
            self.others(rooms, &mut found).await?;
        }
        let (own, others): (BTreeSet<_>, BTreeSet<_>) =
            self.changed_devices().await?.into_iter().partition(|user| user == self.user);
        let memberships = self.rooms.memberships();
        found.changed.extend(memberships.sharing(&self.memberships, others).await?);
        found.changed.extend(own);
        found.left.remove(self.user);
        let kept = memberships.sharing(&self.memberships, found.left.iter().cloned()).await?;
        found.left.retain(|user| !kept.contains(user));
        Ok(found)
    }

    /// Whether the user joined a room since `from`, or left one, by a membership that is new.
    async fn is_encounter(&self, membership: &RoomMembership) -> Result<bool, DbError> {
        let Some(room) = self.rooms.get_readable_nid(membership.room).await? else { return Ok(false) };
        let before = timeline::state_event_at(&room, self.from, MEMBER, self.user.as_str()).await?;
        let is_join = |event: &plexus_rooms::TimelineEvent| Membership::of(&event.pdu) == Some(Membership::Join);
        if before.is_none_or(|event| !is_join(&event)) {
            return Ok(membership.kind == Membership::Join);
        }
        let since = timeline::member_changes(&room, self.user, self.from, Position::MAX).await?;
        Ok(since.iter().any(|event| !is_join(event)))
    }

    async fn encounter(&self, membership: &RoomMembership, found: &mut Response) -> Result<(), DbError> {
        let Some(room) = self.rooms.get_readable_nid(membership.room).await? else { return Ok(()) };
        match membership.kind {
            Membership::Join => found.changed.extend(joined(&room.view())),
            _ => found.left.extend(joined(&room.view())),
        }
        Ok(())
    }

    /// Adds the users who joined or left the rooms since `from`, and all members of rooms that have become encrypted.
    /// Users who only changed their name are included: the client queries them once more than it had to.
    async fn others(&self, rooms: &[RoomNid], found: &mut Response) -> Result<(), DbError> {
        let (from, nids) = (self.from, rooms.to_vec());
        let read = move |tx: &mut Tx<'_>| {
            let members = repo::device_lists::members_changed(tx, &nids, from)?;
            Ok::<_, DbError>((members, repo::device_lists::encryption_changed(tx, &nids, from)?))
        };
        let (members, encrypted): (Vec<(RoomNid, String)>, Vec<RoomNid>) = self.db.read(read).await?;
        for (nid, user) in members {
            let (Some(room), Ok(user)) = (self.rooms.get_readable_nid(nid).await?, UserId::try_from(user)) else {
                continue;
            };
            // The user's own membership was looked at before: this is a changed name.
            if user == *self.user {
                continue;
            }
            match room.view().state.membership(user.as_str()) {
                Some(Membership::Join | Membership::Invite | Membership::Knock) => found.changed.insert(user),
                _ => found.left.insert(user),
            };
        }
        for nid in encrypted {
            if let Some(room) = self.rooms.get_readable_nid(nid).await?.filter(|room| room.view().is_encrypted()) {
                found.changed.extend(joined(&room.view()).filter(|user| user != self.user));
            }
        }
        Ok(())
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
}

fn joined(view: &RoomView) -> impl Iterator<Item = UserId> {
    view.state
        .of_type(MEMBER)
        .filter(|entry| entry.membership == Some(Membership::Join))
        .filter_map(|entry| UserId::try_from(&*entry.state_key).ok())
}
