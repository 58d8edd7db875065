//! The body of `sendToDevice`: what is accepted for other servers can be sent, whatever it is sent together with.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plexus_protocol::json::{Object, write_canonical};
use plexus_sync::to_device::MessagesByDevice;

fuzz_target!(|text: &str| {
    let Ok(messages) = serde_json::from_str::<MessagesByDevice>(text) else { return };
    for content in messages.values().flat_map(|devices| devices.values()) {
        let Ok(message) = Object::parse_portable(content.get()) else { continue };
        let json = message.to_json();
        assert_eq!(Object::parse_portable(&json).map(|again| again.to_json()), Ok(json.clone()));
        // serde_json stands for the parsers of others: numbers, depth.
        assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{json}");
        let body = format!(r#"{{"edus":[{{"content":{{"messages":{{"@a:b":{{"D":{json}}}}}}},"edu_type":"x"}}]}}"#);
        let mut written = String::new();
        assert!(write_canonical(&body, &mut written).is_ok(), "{body}");
        assert!(serde_json::from_str::<serde_json::Value>(&written).is_ok());
    }
});
