//! The body of a transaction, from the text that is verified to its events: both readers of it agree on what is JSON,
//! and what is accepted as an event can be stored.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plexus_protocol::event::Pdu;
use plexus_protocol::json::{Object, write_canonical};
use plexus_protocol::rules::RoomVersion;
use plexus_store::pdu_json;
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Transaction {
    pdus: Vec<Box<RawValue>>,
    #[serde(default)]
    edus: Vec<Edu>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only whether they are there is of interest")]
struct Edu {
    edu_type: String,
    content: Box<RawValue>,
}

fuzz_target!(|data: (u8, &str)| {
    let (version, body) = data;
    let mut signed = String::new();
    if write_canonical(body, &mut signed).is_err() {
        return;
    }
    // The canonical form is what the signature covers: it must say the same.
    assert_eq!(Object::parse(body).map(|object| object.to_json()).as_ref(), Ok(&signed));
    let Ok(transaction) = serde_json::from_str::<Transaction>(body) else { return };
    let version = RoomVersion::ALL[usize::from(version) % RoomVersion::ALL.len()];
    for raw in transaction.pdus {
        let Ok(pdu) = Pdu::parse_remote(raw.get(), version) else { continue };
        let packed = pdu_json::pack(pdu.json()).expect("what is accepted can be stored");
        assert_eq!(pdu_json::unpack(&packed).as_deref(), Ok(pdu.json()));
        assert_eq!(Pdu::from_stored(pdu.json(), pdu.event_id().clone(), version).as_ref(), Ok(&pdu));
    }
    drop(transaction.edus);
});
