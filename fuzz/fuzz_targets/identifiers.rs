//! Identifiers: what is accepted keeps its text, fits the limit and comes apart.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plexus_protocol::id::{EventId, RoomAlias, RoomId, ServerName, UserId};

fuzz_target!(|text: &str| {
    if let Ok(id) = text.parse::<UserId>() {
        assert_eq!(format!("@{}:{}", id.localpart(), id.server_name()), text);
        let server: ServerName = id.server_name().parse().expect("a user's server");
        assert_eq!(UserId::new(id.localpart(), &server), Ok(id.clone()));
        assert!(!id.is_strict() || id.is_compliant());
    }
    if let Ok(id) = text.parse::<RoomId>() {
        assert!(id.as_str() == text && text.len() <= 255);
        if let Some(server) = id.server_name() {
            assert!(server.parse::<ServerName>().is_ok());
        }
        if let Some(create) = id.create_event_id() {
            assert_eq!(RoomId::from_create_event(&create), id);
        }
    }
    if let Ok(id) = text.parse::<RoomAlias>() {
        assert_eq!(format!("#{}:{}", id.localpart(), id.server_name()), text);
    }
    if let Ok(id) = text.parse::<EventId>() {
        assert!(id.as_str() == text && text.len() <= 255);
    }
    if let Ok(name) = text.parse::<ServerName>() {
        let (host, port) = name.host_port();
        assert_eq!(port.is_some(), host.len() < text.len());
        name.host();
    }
});
