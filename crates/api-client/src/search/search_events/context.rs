//! What was said around a result.

use std::collections::BTreeSet;

use plexus_http::ApiError;
use plexus_protocol::json::ObjectWriter;
use plexus_rooms::ClientFormat;
use plexus_rooms::timeline::{self, Direction};
use plexus_service::event_json::push_events;
use plexus_service::search::FoundEvent;
use plexus_service::{TimelineRange, TimelineReader};
use plexus_store::Position;
use plexus_sync::UserSettings;
use plexus_sync::filter::RoomEventFilter;

use super::request::ContextSize;
use crate::paging_token::token;

/// Appends the `context` of a result.
pub(super) async fn push_context(
    out: &mut String,
    found: &FoundEvent,
    settings: &UserSettings,
    format: &ClientFormat<'_>,
    size: ContextSize,
) -> Result<(), ApiError> {
    let FoundEvent { room, access, event, .. } = found;
    let at = event.event.position;
    let last = access.upto(room.view().position);
    let filter = RoomEventFilter::default();
    let reader = TimelineReader { room, user: format.user, settings, filter: &filter, history: None };
    let older =
        TimelineRange { after: Position::MIN, upto: at - 1, limit: size.before, direction: Direction::Backward };
    let newer = TimelineRange { after: at, upto: last, limit: size.after, direction: Direction::Forward };
    let before = if size.before > 0 { reader.read(older).await?.events } else { Vec::new() };
    let after = if size.after > 0 { reader.read(newer).await?.events } else { Vec::new() };
    let oldest = before.last().map_or(at, |visible| visible.event.position);
    let newest = after.last().map_or(at, |visible| visible.event.position);

    let mut context = ObjectWriter::open(out);
    context.string("start", &token(oldest - 1));
    context.string("end", &token(newest));
    push_events(context.key("events_before"), room, format, &before).await?;
    push_events(context.key("events_after"), room, format, &after).await?;
    if size.include_profile {
        let events = std::iter::once(event).chain(&before).chain(&after);
        let senders: BTreeSet<String> = events.map(|visible| visible.event.pdu.sender().to_string()).collect();
        let members = timeline::members_at(room, at.min(last), senders.into_iter().collect()).await?;
        let members = timeline::state_for(format.user, room, members).await?;
        let mut profiles = ObjectWriter::open(context.key("profile_info"));
        for member in members {
            let Some(user) = member.pdu.state_key() else { continue };
            let mut profile = ObjectWriter::open(profiles.key(user));
            for field in ["displayname", "avatar_url"] {
                if let Some(value) = member.pdu.content().get_str(field) {
                    profile.string(field, value);
                }
            }
            profile.close();
        }
        profiles.close();
    }
    context.close();
    Ok(())
}
