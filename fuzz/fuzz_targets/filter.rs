//! Filters: whatever a client defines can be asked, and lists of unwanted values win.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plexus_sync::Filter;

/// Whether a filter excludes nothing.
macro_rules! is_open {
    ($filter:expr) => {
        $filter.types.is_none()
            && $filter.senders.is_none()
            && $filter.not_types.is_empty()
            && $filter.not_senders.is_empty()
    };
}

fuzz_target!(|data: (&str, &str, &str)| {
    let (json, event_type, sender) = data;
    let Ok(filter) = Filter::parse(json) else { return };
    for part in [&filter.room.timeline, &filter.room.state, &filter.room.ephemeral, &filter.room.account_data] {
        let allowed = part.allows(event_type, sender, || true) || part.allows(event_type, sender, || false);
        assert!(allowed || !(is_open!(part.event) && part.contains_url.is_none()));
        if part.event.not_senders.iter().any(|unwanted| unwanted == sender) {
            assert!(!allowed);
        }
        part.allows_room(sender);
    }
    assert!(filter.presence.allows(event_type, sender) || !is_open!(filter.presence));
    filter.room.allows_room(sender);
    filter.lazy_load_members();
});
