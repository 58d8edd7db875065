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
    let mut add = |events: &[Pdu], of_state| {
        let events: Vec<_> = events.iter().map(|pdu| (pdu.clone(), None)).collect();
        spool.add(&events, of_state).unwrap();
    };
    add(std::slice::from_ref(&last), true);
    events.reverse();
    for part in events.chunks(7) {
        add(part, false);
    }
    // Once more, and as state now.
    add(&events[..10], true);
    add(&events[..10], true);
    // Known before.
    let known = event(700, &[&event(701, &[])]);
    spool.add(&[(known.clone(), Some((7, Verdict::Accepted)))], true).unwrap();
    assert!(spool.end > MAX_BYTES_IN_MEMORY as u64);

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

    // The state is what has been stored of it and was not rejected.
    let verdict = |nid: i64| if nid == 3 { Verdict::Rejected } else { Verdict::Accepted };
    let of_state = || std::iter::once(&last).chain(&events[..9]);
    spool.set_stored(of_state().map(Pdu::event_id).zip((0..).map(|nid| (nid, verdict(nid)))));
    let state: Vec<(String, i64)> = spool.state().map(|(entry, _)| (entry.state_key.to_string(), entry.nid)).collect();
    let expected = of_state().zip(0..).filter(|(_, nid)| *nid != 3).chain([(&known, 7)]);
    assert_eq!(state, expected.map(|(pdu, nid)| (pdu.state_key().unwrap().to_owned(), nid)).collect::<Vec<_>>());
    assert_eq!(spool.auth_events_first().len(), events.len() - 9);
}
