//! Stripped state that comes with an invite or a knock: whatever is sent, what is kept of it can be stored and read
//! again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plexus_protocol::event::Pdu;
use plexus_protocol::rules::RoomVersion;
use plexus_rooms::stripped::StrippedState;
use plexus_store::pdu_json;
use serde_json::value::RawValue;

const INVITE: &str = r#"{"auth_events":[],"content":{"membership":"invite"},"depth":1,"hashes":{"sha256":"a"},
"origin_server_ts":1,"prev_events":[],"room_id":"!r:a","sender":"@a:a","signatures":{},"state_key":"@b:b",
"type":"m.room.member"}"#;

fuzz_target!(|text: &str| {
    let Ok(sent) = serde_json::from_str::<Vec<Box<RawValue>>>(text) else { return };
    let invite = Pdu::parse(INVITE, RoomVersion::V10).expect("the invite is an event");
    let fitting = StrippedState::fitting(&sent).attach_to(&invite, "invite_room_state");
    if let Ok(all) = StrippedState::all(&sent) {
        assert_eq!(all.attach_to(&invite, "invite_room_state"), fitting);
    }
    let json = fitting.unsigned().expect("the stripped state is in unsigned").to_json();
    let packed = pdu_json::pack(&json).expect("what is kept can be stored");
    assert_eq!(pdu_json::unpack(&packed).as_deref(), Ok(&*json));
    assert!(plexus_protocol::json::Object::parse(&json).is_ok());
});
