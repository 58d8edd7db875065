//! Scheduled tasks, and what they do.

use std::sync::Arc;

use plexus_accounts::Accounts;
use plexus_http::room_errors::delayed_send_error;
use plexus_rooms::Rooms;
use plexus_service::delayed_events::{
    DelayedEventLimits, DelayedEventSender, DelayedEventsParts, ErrorBody, OvertakenStates,
};
use plexus_service::tasks::{TaskHandler, TaskRunner};
use plexus_service::{
    ClientAddresses, ClientEventSender, ComplexRoomLeaver, DelayedEvents, ExpiringMessages, ForgottenRooms,
    InviteAccepter, RateLimits, RelatedRedactions, RelatedRedactor, RoomPurge, UnusedDevices,
};
use plexus_store::DbError;

use super::foundation::Foundation;
use super::rooms::RoomServices;

/// Scheduled tasks, and what they do: delayed events, redactions of related events.
pub(super) struct TaskServices {
    pub(super) events: DelayedEvents,
    pub(super) related_redactions: RelatedRedactions,
    related_redactor: Arc<RelatedRedactor>,
    sender: Arc<DelayedEventSender>,
    overtaken: Arc<OvertakenStates>,
    unused_devices: Arc<UnusedDevices>,
    client_addresses: Arc<ClientAddresses>,
    expiring: Arc<ExpiringMessages>,
    forgotten_rooms: Arc<ForgottenRooms>,
    room_purge: Arc<RoomPurge>,
    accepting: Arc<InviteAccepter>,
    rooms: Arc<Rooms>,
    complex_rooms: Arc<ComplexRoomLeaver>,
}

impl TaskServices {
    pub(super) async fn build(
        foundation: &Foundation,
        rooms: &RoomServices,
        accounts: &Accounts,
        rate_limits: &Arc<RateLimits>,
        client_events: &Arc<ClientEventSender>,
    ) -> Result<Self, DbError> {
        let Foundation { config, clock, database: db, background, tasks, .. } = foundation;
        let watched = Arc::clone(&rooms.rooms);
        let overtaken =
            OvertakenStates::start(db.clone(), clock.clone(), watched, Arc::clone(tasks), error_body()).await?;
        let sender = Arc::new(DelayedEventSender::new(
            db.clone(),
            clock.clone(),
            Arc::clone(client_events),
            Arc::clone(&overtaken),
            Arc::clone(&foundation.app_services),
            error_body(),
        ));
        let events = DelayedEvents::new(DelayedEventsParts {
            db: db.clone(),
            clock: clock.clone(),
            rooms: Arc::clone(&rooms.rooms),
            background: background.clone(),
            tasks: Arc::clone(tasks),
            rate_limits: Arc::clone(rate_limits),
            overtaken: Arc::clone(&overtaken),
            sender: Arc::clone(&sender),
            limits: DelayedEventLimits {
                max_delay: config.server.max_event_delay_duration,
                max_scheduled: config.experimental.experimental_features.msc4140_max_delayed_events_per_user,
            },
        });
        let unused_devices =
            UnusedDevices::new(clock.clone(), accounts.devices.clone(), config.server.delete_stale_devices_after);
        let retention = config.blocking.forgotten_room_retention_period;
        let forgotten_rooms = ForgottenRooms::new(db.clone(), clock.clone(), Arc::clone(tasks), retention);
        let room_purge = RoomPurge::new(db.clone(), clock.clone(), Arc::clone(tasks), retention.is_some());
        let client_addresses = ClientAddresses::new(db.clone(), clock.clone(), config.blocking.user_ips_max_age);
        let enabled = config.experimental.experimental_features.msc3912_enabled;
        let related_redactor = RelatedRedactor::new(db.clone(), Arc::clone(&rooms.rooms), Arc::clone(&rooms.sender));
        let expiring = ExpiringMessages::new(Arc::clone(&rooms.writer));
        Ok(Self {
            events,
            related_redactions: RelatedRedactions::new(db.clone(), clock.clone(), Arc::clone(tasks), enabled),
            related_redactor: Arc::new(related_redactor),
            sender,
            overtaken,
            unused_devices: Arc::new(unused_devices),
            client_addresses: Arc::new(client_addresses),
            expiring: Arc::new(expiring),
            forgotten_rooms: Arc::new(forgotten_rooms),
            room_purge: Arc::new(room_purge),
            accepting: Arc::new(InviteAccepter::new(db.clone(), Arc::clone(&rooms.rooms), Arc::clone(&rooms.members))),
            rooms: Arc::clone(&rooms.rooms),
            complex_rooms: Arc::new(ComplexRoomLeaver::new(Arc::clone(&rooms.members))),
        })
    }

    /// Starts the background work: also that of the scheduled tasks that `others` run.
    pub(super) async fn start_background(
        &self,
        foundation: &Foundation,
        others: impl IntoIterator<Item = Arc<dyn TaskHandler>>,
    ) -> Result<(), DbError> {
        let Foundation { clock, database, background, tasks, .. } = foundation;
        let own: [Arc<dyn TaskHandler>; 9] = [
            Arc::<DelayedEventSender>::clone(&self.sender),
            Arc::<UnusedDevices>::clone(&self.unused_devices),
            Arc::<ClientAddresses>::clone(&self.client_addresses),
            Arc::<RelatedRedactor>::clone(&self.related_redactor),
            Arc::<ExpiringMessages>::clone(&self.expiring),
            Arc::<ForgottenRooms>::clone(&self.forgotten_rooms),
            Arc::<RoomPurge>::clone(&self.room_purge),
            Arc::<InviteAccepter>::clone(&self.accepting),
            Arc::<ComplexRoomLeaver>::clone(&self.complex_rooms),
        ];
        let handlers = own.into_iter().chain(others);
        let runner = TaskRunner::new(database.clone(), clock.clone(), Arc::clone(tasks), handlers);
        runner.schedule_recurring().await?;
        background.spawn_abortable("scheduled tasks", runner.run());
        let (rooms, scheduler) = (Arc::clone(&self.rooms), Arc::clone(tasks));
        background.spawn_abortable("tasks stored with events", async move {
            loop {
                let due_ms = rooms.tasks_stored().await;
                scheduler.wake_runner_by(due_ms);
            }
        });
        background.spawn_abortable("overtaken delayed events", Arc::clone(&self.overtaken).run());
        Ok(())
    }
}

/// Returns what writes the errors that owners of delayed events read.
fn error_body() -> ErrorBody {
    Box::new(|error| delayed_send_error(error).into_json())
}
