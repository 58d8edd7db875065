//! Events of this crate as ruma's state resolution sees them.

use std::{borrow::Borrow, fmt, sync::Arc};

use plexus_protocol::{event::Pdu, id::EventId as Id, rules::RoomVersion};
use ruma_common::room_version_rules::RoomVersionRules;
use ruma_common::{
    EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, RoomVersionId, UserId,
};
use ruma_events::TimelineEventType;
use ruma_state_res::Event;
use serde_json::value::RawValue;

pub(crate) fn rules(version: RoomVersion) -> RoomVersionRules {
    RoomVersionId::try_from(version.as_str()).unwrap().rules().unwrap()
}

/// An event id that is as cheap to clone as this crate's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RumaId(Arc<OwnedEventId>);

impl Borrow<EventId> for RumaId {
    fn borrow(&self) -> &EventId {
        &self.0
    }
}

impl fmt::Display for RumaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

pub(crate) fn id(id: &Id) -> RumaId {
    RumaId(Arc::new(id.as_str().try_into().unwrap()))
}

#[derive(Clone)]
pub(crate) struct RumaPdu {
    inner: Arc<Inner>,
    pub rejected: bool,
}

struct Inner {
    id: RumaId,
    room_id: Option<OwnedRoomId>,
    sender: OwnedUserId,
    time: MilliSecondsSinceUnixEpoch,
    event_type: TimelineEventType,
    content: Box<RawValue>,
    state_key: Option<String>,
    prev_events: Vec<RumaId>,
    auth_events: Vec<RumaId>,
    redacts: Option<RumaId>,
}

impl From<&Pdu> for RumaPdu {
    fn from(pdu: &Pdu) -> Self {
        let has_room_id = pdu.member_json("room_id").is_some();
        let inner = Inner {
            id: id(pdu.event_id()),
            room_id: has_room_id.then(|| pdu.room_id().as_str().try_into().unwrap()),
            sender: pdu.sender().as_str().try_into().unwrap(),
            time: MilliSecondsSinceUnixEpoch(pdu.origin_server_ts().try_into().unwrap()),
            event_type: pdu.event_type().into(),
            content: RawValue::from_string(pdu.content_json().to_owned()).unwrap(),
            state_key: pdu.state_key().map(str::to_owned),
            prev_events: pdu.prev_events().iter().map(id).collect(),
            auth_events: pdu.auth_events().iter().map(id).collect(),
            redacts: pdu.redacts().map(id),
        };
        Self { inner: Arc::new(inner), rejected: false }
    }
}

impl Event for RumaPdu {
    type Id = RumaId;

    fn event_id(&self) -> &RumaId {
        &self.inner.id
    }
    fn room_id(&self) -> Option<&RoomId> {
        self.inner.room_id.as_deref()
    }
    fn sender(&self) -> &UserId {
        &self.inner.sender
    }
    fn origin_server_ts(&self) -> MilliSecondsSinceUnixEpoch {
        self.inner.time
    }
    fn event_type(&self) -> &TimelineEventType {
        &self.inner.event_type
    }
    fn content(&self) -> &RawValue {
        &self.inner.content
    }
    fn state_key(&self) -> Option<&str> {
        self.inner.state_key.as_deref()
    }
    fn prev_events(&self) -> Box<dyn DoubleEndedIterator<Item = &RumaId> + '_> {
        Box::new(self.inner.prev_events.iter())
    }
    fn auth_events(&self) -> Box<dyn DoubleEndedIterator<Item = &RumaId> + '_> {
        Box::new(self.inner.auth_events.iter())
    }
    fn redacts(&self) -> Option<&RumaId> {
        self.inner.redacts.as_ref()
    }
    fn rejected(&self) -> bool {
        self.rejected
    }
}

/// Looks up events by either kind of id.
pub(crate) type Events = std::collections::HashMap<RumaId, RumaPdu>;

pub(crate) fn fetch(events: &Events) -> impl Fn(&EventId) -> Option<RumaPdu> + '_ {
    |id| events.get(id).cloned()
}
