//! The event parser, in every room version: what it accepts survives storing, redaction and hashing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plexus_protocol::{
    event::{Pdu, auth_types::auth_event_keys, client, redact::redact, sign},
    json::Object,
    rules::RoomVersion,
};

fuzz_target!(|data: (u8, &str)| {
    let version = RoomVersion::ALL[usize::from(data.0) % RoomVersion::ALL.len()];
    let _ = Pdu::parse_remote(data.1, version);
    let Ok(pdu) = Pdu::parse(data.1, version) else { return };
    assert_eq!(Pdu::parse(pdu.json(), version).as_ref(), Ok(&pdu));
    assert_eq!(Pdu::from_stored(pdu.json(), pdu.event_id().clone(), version).as_ref(), Ok(&pdu));
    // Floats of early room versions are kept as they came and written as Python writes them.
    assert_eq!(pdu.content_json(), pdu.content().to_json());
    let redacted = redact(&pdu);
    assert_eq!(redact(&redacted), redacted);
    assert_eq!(redacted.event_id(), pdu.event_id());
    assert_eq!(redacted.reference_hash(), pdu.reference_hash());
    pdu.content_hash_matches();
    let _ = sign::verify(&pdu, &|_, _| None);
    sign::required_keys(&pdu);
    auth_event_keys(pdu.rules(), pdu.event_type(), pdu.sender(), pdu.state_key(), pdu.content());
    assert!(Object::parse(&client::client_json(&pdu)).is_ok());
    assert!(Object::parse(&client::stripped_json(&pdu)).is_ok());
});
