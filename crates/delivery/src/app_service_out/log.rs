//! The log for application services: events, messages for devices, and changes of devices.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use plexus_base::{AppService, AppServices, Registrations};
use plexus_protocol::id::UserId;
use plexus_protocol::membership::Membership;
use plexus_rooms::timeline::{self, Direction};
use plexus_rooms::{Room, Rooms, TimelineEvent};
use plexus_store::repo::app_service_out::{self, LogRow};
use plexus_store::repo::to_device::{self, TargetedMessage};
use plexus_store::{Database, DbError, Position, RoomNid, Tx};

use super::changes::ServiceChanges;
use super::content::{LogContent, ServiceId, ServiceIds};
use super::extensions::Extensions;
use super::interest::Interest;
use crate::damaged::without_damaged;
use crate::outbox::{Due, LogChunk, LogEntry};

/// The most entries that are read at once.
const MAX_ROWS: usize = 500;

/// The most chunks of the log that are read for one delivery: the rest follows with the next ones.
const MAX_CHUNKS: usize = 8;

/// Reads the log.
pub(super) struct LogReader {
    pub(super) db: Database,
    pub(super) rooms: Arc<Rooms>,
    pub(super) app_services: Arc<AppServices>,
    pub(super) interest: Arc<Interest>,
    pub(super) changes: Arc<ServiceChanges>,
    pub(super) extensions: Extensions,
}

type Entry = LogEntry<LogContent, ServiceIds>;
/// The services that get everything of a room by its names, while a part of the log is read.
type OfRooms = HashMap<RoomNid, BTreeSet<usize>>;

impl LogReader {
    /// Reads the log after `after` up to `upto`, or less of it, and finds out which services get each entry.
    pub(super) async fn read(
        &self,
        after: Position,
        upto: Position,
    ) -> Result<LogChunk<LogContent, ServiceIds>, DbError> {
        let Some(registrations) = self.app_services.current() else {
            return Ok(LogChunk { entries: Vec::new(), upto });
        };
        let rows = match self.changes.log(after, upto, MAX_ROWS) {
            Some(rows) => rows,
            None => {
                let limit = MAX_ROWS as u64;
                self.db.read(move |tx: &mut Tx<'_>| app_service_out::log_between(tx, after, upto, limit)).await?
            }
        };
        let end = rows.last().filter(|_| rows.len() >= MAX_ROWS).map_or(upto, |(position, _)| *position);
        let mut entries = Vec::new();
        let mut of_rooms = OfRooms::new();
        for (position, row) in rows {
            let lost = || format!("application services do not get what is at position {position}");
            entries.extend(without_damaged(lost, self.entry(&registrations, &mut of_rooms, position, row)).await?);
        }
        Ok(LogChunk { entries, upto: end })
    }

    /// Whether a user is one of this server.
    pub(super) fn is_local(&self, user: &str) -> bool {
        UserId::try_from(user).is_ok_and(|user| user.server_name() == self.rooms.server_name().as_str())
    }

    /// Reads what one service gets after `after` up to `upto`, or less of it.
    pub(super) async fn catch_up(
        &self,
        service: &ServiceId,
        mut after: Position,
        upto: Position,
        limit: usize,
    ) -> Result<Due<LogContent>, DbError> {
        let mut found: Vec<(Position, LogContent)> = Vec::new();
        for _ in 0..MAX_CHUNKS {
            if after >= upto || found.len() >= limit {
                break;
            }
            let chunk = self.read(after, upto).await?;
            let for_service = chunk.entries.into_iter().filter(|entry| entry.recipients.0.contains(service));
            found.extend(for_service.map(|entry| (entry.position, entry.content)));
            after = chunk.upto;
        }
        if found.len() > limit {
            found.truncate(limit);
            after = found.last().map_or(after, |(position, _)| *position);
        }
        Ok(Due { entries: found, upto: after })
    }

    async fn entry(
        &self,
        registrations: &Arc<Registrations>,
        of_rooms: &mut OfRooms,
        position: Position,
        row: LogRow,
    ) -> Result<Option<Entry>, DbError> {
        match row {
            LogRow::Event { room } => {
                let Some(room) = self.rooms.get_readable_nid(room).await? else { return Ok(None) };
                let found = timeline::range(&room, position - 1, position, 1, Direction::Forward).await?;
                let Some(event) = found.into_iter().next() else { return Ok(None) };
                self.event(registrations, of_rooms, position, &room, event).await
            }
            LogRow::Membership { room, event } => {
                let Some(room) = self.rooms.get_readable_nid(room).await? else { return Ok(None) };
                let Some(event) = timeline::by_nids(&room, vec![event]).await?.pop() else { return Ok(None) };
                self.event(registrations, of_rooms, position, &room, event).await
            }
            LogRow::ToDevice { user, device } => self.message(registrations, position, user, device).await,
            LogRow::DeviceList { user } => self.device_list(registrations, position, &user).await,
        }
    }

    async fn event(
        &self,
        registrations: &Arc<Registrations>,
        of_rooms: &mut OfRooms,
        position: Position,
        room: &Room,
        event: Arc<TimelineEvent>,
    ) -> Result<Option<Entry>, DbError> {
        if event.is_dummy() {
            return Ok(None);
        }
        let mut services: BTreeSet<usize> = registrations.of_user(event.pdu.sender().as_str()).into_iter().collect();
        let member = event.pdu.state_key().filter(|_| event.pdu.event_type() == "m.room.member");
        services.extend(member.iter().flat_map(|user| registrations.of_user(user)));
        services.extend(self.interest.of_members_at(registrations, room, position).await?);
        match of_rooms.get(&room.nid) {
            Some(of_room) => services.extend(of_room),
            None => {
                let of_room = self.interest.of_names(registrations, room).await?;
                services.extend(&of_room);
                of_rooms.insert(room.nid, of_room);
            }
        }
        let recipients = recipients(registrations, services, |_| true);
        if recipients.is_empty() {
            return Ok(None);
        }
        let membership = event.pdu.content().get_str("membership").and_then(Membership::parse);
        let stripped_state = match (member, membership) {
            (Some(_), Some(Membership::Invite | Membership::Knock)) => {
                let sender = Some(event.pdu.sender());
                Some(self.rooms.stripped_state(room, &event.pdu, sender).await?.into())
            }
            _ => None,
        };
        let content = LogContent::Event { event, stripped_state };
        Ok(Some(LogEntry { position, content, recipients: ServiceIds(recipients) }))
    }

    async fn message(
        &self,
        registrations: &Registrations,
        position: Position,
        user: String,
        device: String,
    ) -> Result<Option<Entry>, DbError> {
        if !self.extensions.to_device {
            return Ok(None);
        }
        let recipients = recipients(registrations, registrations.of_user(&user), AppService::gets_ephemeral);
        if recipients.is_empty() {
            return Ok(None);
        }
        let target = TargetedMessage { user, device, position };
        let wanted = target.clone();
        let message = self.db.read::<_, DbError, _>(move |tx: &mut Tx<'_>| to_device::get(tx, &wanted)).await?;
        // The device may have taken it already.
        let Some(message) = message else { return Ok(None) };
        let content = LogContent::ToDevice { target, message: message.into() };
        Ok(Some(LogEntry { position, content, recipients: ServiceIds(recipients) }))
    }

    async fn device_list(
        &self,
        registrations: &Arc<Registrations>,
        position: Position,
        user: &str,
    ) -> Result<Option<Entry>, DbError> {
        let wants = |service: &AppService| service.msc3202;
        if !self.extensions.msc3202 || !registrations.all().iter().any(|service| wants(service)) {
            return Ok(None);
        }
        let Ok(user_id) = UserId::try_from(user) else { return Ok(None) };
        let recipients = recipients(registrations, self.interest.of_user(registrations, &user_id).await?, wants);
        if recipients.is_empty() {
            return Ok(None);
        }
        let content = LogContent::DeviceList(user.into());
        Ok(Some(LogEntry { position, content, recipients: ServiceIds(recipients) }))
    }
}

/// Returns the ids of the services with these numbers that receive something, and want it.
pub(super) fn recipients(
    registrations: &Registrations,
    numbers: impl IntoIterator<Item = usize>,
    wants: impl Fn(&AppService) -> bool,
) -> Vec<ServiceId> {
    let services = numbers.into_iter().filter_map(|number| registrations.all().get(number));
    let receiving = services.filter(|service| service.url.is_some() && wants(service));
    receiving.map(|service| service.id.as_str().into()).collect()
}
