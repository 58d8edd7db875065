//! Search in messages (client-server API, Server Side Search).

pub(crate) mod search_events;
