use plexus_protocol::event::build::PduBuilder;
use plexus_protocol::event::sign::SigningKey;
use plexus_protocol::id::{RoomId, ServerName, UserId};
use plexus_protocol::json::Object;

use super::*;

const VERSION: RoomVersion = RoomVersion::V11;

fn event(number: u64, auth_events: &[&Pdu]) -> Pdu {
    let builder = PduBuilder {
        room_id: Some(RoomId::try_from("!room:b.example").unwrap()),
        sender: UserId::try_from("@bob:b.example").unwrap(),
        event_type: "org.example.test".to_owned(),
        state_key: Some(number.to_string()),
        content: Object::from([("text", "x".repeat(20_000))]),
        unsigned: None,
        redacts: None,
        prev_events: Vec::new(),
        auth_events: auth_events.iter().map(|pdu| pdu.event_id().clone()).collect(),
        depth: number,
        origin_server_ts: number,
    };
    let server = ServerName::try_from("b.example").unwrap();
    builder.build(VERSION, &SigningKey::generate(&[1; 32], "a"), &server).unwrap()
}

#[test]
fn what_goes_in_comes_out_in_order() {
    let mut events: Vec<Pdu> = Vec::new();
    for number in 0..600 {
        let named: Vec<Pdu> = events.iter().rev().take(2).cloned().collect();
        events.push(event(number, &named.iter().collect::<Vec<_>>()));
    }
    let stranger = event(10_000, &[]);
    let last = event(601, &[&stranger, &events[3], &events[3]]);
    let mut spool = Spool::new(Box::new(|_| false));
    spool.add(std::slice::from_ref(&last), true).unwrap();
    events.reverse();
    for part in events.chunks(7) {
        spool.add(part, false).unwrap();
    }
    // Once more, and as state now.
    spool.add(&events[..10], true).unwrap();
    spool.add(&events[..10], true).unwrap();
    assert!(spool.end > IN_MEMORY as u64);
    let ids: Vec<&EventId> = spool.state_ids().map(|(id, _)| id).collect();
    assert!(ids.into_iter().eq(std::iter::once(&last).chain(&events[..10]).map(Pdu::event_id)));

    let order = spool.auth_events_first();
    assert_eq!(order.len(), events.len() + 1);
    let back = spool.read(&order, VERSION).unwrap();
    let at: HashMap<&EventId, usize> = back.iter().enumerate().map(|(at, pdu)| (pdu.event_id(), at)).collect();
    for pdu in &back {
        let own = at[pdu.event_id()];
        assert!(pdu.auth_events().iter().filter_map(|id| at.get(id)).all(|before| *before < own));
    }
    for pdu in events.iter().chain([&last]) {
        assert_eq!(back[at[pdu.event_id()]].json(), pdu.json());
    }
}
