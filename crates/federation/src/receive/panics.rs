//! Parses and checks events so that a panic, which is a bug, costs only the event that causes it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::slice;

use plexus_base::background::panic_message;
use plexus_protocol::event::Pdu;
use plexus_protocol::event::sign::SignatureError;
use plexus_protocol::rules::RoomVersion;

use super::ReceiveError;
use crate::peers::RawPdu;

/// Parses an event of another server.
///
/// # Errors
/// When it is malformed, or parsing it panics.
pub(crate) fn parse(raw: &RawPdu, version: RoomVersion) -> Result<Pdu, ReceiveError> {
    match caught(|| Pdu::parse_remote(raw.get(), version)) {
        Some(parsed) => Ok(parsed?),
        None => Err(ReceiveError::Panicked),
    }
}

/// Returns a result for each event, in order, of `check`, which returns that too. If it panics, it checks each event by
/// itself.
pub(super) fn check_each<T>(
    pdus: &[Pdu],
    check: impl Fn(&[Pdu]) -> Vec<Result<T, SignatureError>>,
) -> Vec<Result<T, ReceiveError>> {
    if let Some(results) = caught(|| check(pdus)) {
        return results.into_iter().map(|result| result.map_err(ReceiveError::from)).collect();
    }
    let alone = |pdu: &Pdu| match caught(|| check(slice::from_ref(pdu))).and_then(|mut results| results.pop()) {
        Some(result) => result.map_err(ReceiveError::from),
        None => Err(ReceiveError::Panicked),
    };
    pdus.iter().map(alone).collect()
}

fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => Some(result),
        Err(panic) => {
            tracing::error!("a bug: the check of an event of another server panicked: {}", panic_message(&*panic));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use plexus_protocol::event::build::PduBuilder;
    use plexus_protocol::event::sign::SigningKey;
    use plexus_protocol::json::Object;

    use super::*;

    fn event(depth: u64) -> Pdu {
        let builder = PduBuilder {
            room_id: Some("!room:a.example".parse().unwrap()),
            sender: "@user:a.example".parse().unwrap(),
            event_type: "m.test".to_owned(),
            state_key: None,
            content: Object::new(),
            unsigned: None,
            redacts: None,
            prev_events: Vec::new(),
            auth_events: Vec::new(),
            depth,
            origin_server_ts: 1,
        };
        let key = SigningKey::generate(&[7; 32], "1");
        builder.build(RoomVersion::V11, &key, &"a.example".parse().unwrap()).unwrap()
    }

    #[test]
    fn a_panic_costs_only_the_event_that_causes_it() {
        let pdus: Vec<Pdu> = (1..=5).map(event).collect();
        let check = |pdus: &[Pdu]| -> Vec<Result<u64, SignatureError>> {
            let check_one = |pdu: &Pdu| {
                assert_ne!(pdu.depth(), 3, "a test");
                Ok(pdu.depth())
            };
            pdus.iter().map(check_one).collect()
        };
        let results = check_each(&pdus, check);
        let checked: Vec<_> = results.iter().map(|result| result.as_ref().ok().copied()).collect();
        assert_eq!(checked, [Some(1), Some(2), None, Some(4), Some(5)]);
        assert!(matches!(results[2], Err(ReceiveError::Panicked)));
    }
}
