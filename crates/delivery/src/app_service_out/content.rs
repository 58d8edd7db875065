//! The log's content for application services, and the services that get it.

use std::sync::Arc;

use plexus_rooms::TimelineEvent;
use plexus_store::repo::to_device::TargetedMessage;

use crate::outbox::{Content, Recipients};

/// The id of an application service.
pub(super) type ServiceId = Arc<str>;

/// The content of an entry of the log.
#[derive(Clone)]
pub(super) enum LogContent {
    Event {
        event: Arc<TimelineEvent>,
        /// The stripped state of the room of an invite or a knock, JSON.
        stripped_state: Option<Arc<[String]>>,
    },
    ToDevice {
        target: TargetedMessage,
        /// The event as the device receives it, JSON.
        message: Arc<str>,
    },
    /// The devices of a user have changed.
    DeviceList(Arc<str>),
}

impl Content for LogContent {
    fn bytes(&self) -> usize {
        match self {
            Self::Event { event, stripped_state } => {
                let stripped = stripped_state.iter().flat_map(|state| state.iter()).map(String::len);
                event.pdu.json().len() + stripped.sum::<usize>()
            }
            Self::ToDevice { message, .. } => message.len(),
            Self::DeviceList(user) => user.len(),
        }
    }
}

/// The application services that get an entry of the log.
pub(super) struct ServiceIds(pub(super) Vec<ServiceId>);

impl Recipients<ServiceId> for ServiceIds {
    fn contains(&self, service: &ServiceId) -> bool {
        self.0.contains(service)
    }

    fn keys(&self) -> Vec<ServiceId> {
        self.0.clone()
    }
}
