//! Work that is done later: scheduled tasks, and the events that they send.

use std::sync::Arc;

use plexus_http::room_errors::delayed_send_error;
use plexus_service::delayed_events::{
    DelayedEventLimits, DelayedEventSender, DelayedEventsParts, ErrorBody, OvertakenStates,
};
use plexus_service::tasks::{TaskHandler, TaskRunner, TaskScheduler};
use plexus_service::{ClientEventSender, DelayedEvents, RateLimits};
use plexus_store::DbError;

use super::foundation::Foundation;
use super::rooms::RoomServices;

/// Scheduled tasks and delayed events.
pub(super) struct DelayedServices {
    pub(super) events: DelayedEvents,
    tasks: Arc<TaskScheduler>,
    sender: Arc<DelayedEventSender>,
    overtaken: Arc<OvertakenStates>,
}

impl DelayedServices {
    pub(super) async fn build(
        foundation: &Foundation,
        rooms: &RoomServices,
        rate_limits: &Arc<RateLimits>,
        client_events: &Arc<ClientEventSender>,
    ) -> Result<Self, DbError> {
        let Foundation { config, clock, random, database: db, background, .. } = foundation;
        let tasks = TaskScheduler::start(db, clock.clone(), random.clone()).await?;
        let overtaken = OvertakenStates::start(db.clone(), clock.clone(), Arc::clone(&tasks), error_body()).await?;
        let sender = DelayedEventSender::new(db.clone(), clock.clone(), Arc::clone(client_events), error_body());
        let sender = Arc::new(sender);
        let events = DelayedEvents::new(DelayedEventsParts {
            db: db.clone(),
            clock: clock.clone(),
            rooms: Arc::clone(&rooms.rooms),
            background: background.clone(),
            tasks: Arc::clone(&tasks),
            rate_limits: Arc::clone(rate_limits),
            overtaken: Arc::clone(&overtaken),
            sender: Arc::clone(&sender),
            limits: DelayedEventLimits {
                max_delay: config.server.max_event_delay_duration,
                max_scheduled: config.experimental.experimental_features.msc4140_max_delayed_events_per_user,
            },
        });
        Ok(Self { events, tasks, sender, overtaken })
    }

    pub(super) fn start_background(&self, foundation: &Foundation) {
        let Foundation { clock, database, background, .. } = foundation;
        let handlers = [Arc::clone(&self.sender) as Arc<dyn TaskHandler>];
        let runner = TaskRunner::new(database.clone(), clock.clone(), Arc::clone(&self.tasks), handlers);
        background.spawn_abortable("scheduled tasks", runner.run());
        background.spawn_abortable("overtaken delayed events", Arc::clone(&self.overtaken).run());
    }
}

/// Returns what writes the errors that owners of delayed events read.
fn error_body() -> ErrorBody {
    Box::new(|error| delayed_send_error(error).into_json())
}
