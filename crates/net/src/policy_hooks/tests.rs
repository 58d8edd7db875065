use plexus_protocol::rules::RoomVersion;

use super::*;

#[test]
fn hooks_get_the_whole_event_however_deep_it_is_nested() {
    for depth in [1, 130, 400] {
        let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let json = format!(
            r#"{{"auth_events":[],"content":{{"body":"spam","x":{nested}}},"depth":1,"hashes":{{}},"origin_server_ts":1,
            "prev_events":[],"room_id":"!r:a.example","sender":"@a:a.example","signatures":{{}},"type":"m.room.message"}}"#
        );
        let pdu = Pdu::parse(&json, RoomVersion::V11).expect("an event");
        let shown = Object::parse(client_event(&pdu).expect("its JSON").get()).expect("an object");
        assert_eq!(shown.get_str("sender"), Some("@a:a.example"), "{depth}");
        assert_eq!(shown.get("content"), Some(&JsonValue::Object(pdu.content().clone())), "{depth}");
        assert_eq!(shown.get_str("event_id"), Some(pdu.event_id().as_str()));
        assert!(!shown.contains_key("auth_events") && !shown.contains_key("signatures"));
    }
}
