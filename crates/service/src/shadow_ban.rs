//! Shadow bans: what a shadow-banned user writes seems to be sent, and reaches nobody. The user is not to notice.
//!
//! As in Synapse, these have no effect: events other than memberships, invites, typing, the change of a name or avatar
//! in rooms (the profile itself changes), upgrades of rooms. Joining, leaving and creating rooms work, without the
//! invites; so do kicks and bans. The rate limits are as for everybody.

use plexus_base::Random;
use plexus_protocol::id::EventId;
use plexus_rooms::NewEvent;

/// Whether an event of a shadow-banned user is not sent.
pub(crate) fn withholds(event: &NewEvent) -> bool {
    let is_member_event = event.event_type == "m.room.member" && event.state_key.is_some();
    !is_member_event || event.content.get_str("membership") == Some("invite")
}

/// Returns an id for an event that is not sent.
pub(crate) fn event_id(random: &Random) -> EventId {
    EventId::of_hash(&random.bytes())
}
