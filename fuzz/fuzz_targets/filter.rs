//! Filters: whatever a client defines can be asked, and lists of unwanted values win.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plexus_sync::Filter;

fuzz_target!(|data: (&str, &str, &str)| {
    let (json, event_type, sender) = data;
    let Ok(filter) = Filter::parse(json) else { return };
    for part in [&filter.room.timeline, &filter.room.state, &filter.room.ephemeral, &filter.room.account_data] {
        let allowed = part.allows(event_type, sender, || true) || part.allows(event_type, sender, || false);
        assert!(allowed || !part.is_open());
        if part.event.not_senders.iter().any(|unwanted| unwanted == sender) {
            assert!(!allowed);
        }
        part.allows_room(sender);
    }
    assert!(filter.presence.allows(event_type, sender) || !filter.presence.is_open());
    filter.room.allows_room(sender);
    filter.lazy_load_members();
});
