//! The stored form of what a connection has been sent.

use std::collections::BTreeSet;
use std::sync::Arc;

use plexus_store::RoomNid;
use plexus_store::varint::{push, push_signed, take, take_signed};
use serde::{Deserialize, Serialize};

use super::{Progress, RequiredState, SentRoom, SentState};
use crate::delta::ProfileFields;

/// The form that is written. States of another form are not read: the connection begins again.
const FORM: u8 = 1;

/// What precedes the rooms.
#[derive(Serialize, Deserialize)]
struct Head {
    configs: Vec<Arc<RequiredState>>,
    has_account_data: bool,
    #[serde(default, skip_serializing_if = "follows_none")]
    profiles: ProfileFields,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sticky_rooms: Option<Arc<BTreeSet<RoomNid>>>,
}

fn follows_none(profiles: &ProfileFields) -> bool {
    *profiles == ProfileFields::None
}

/// Returns the stored form of a state.
pub(crate) fn pack(state: &SentState) -> Vec<u8> {
    let mut out = vec![FORM];
    let head = Head {
        configs: state.configs.to_vec(),
        has_account_data: state.has_account_data,
        profiles: state.profiles.clone(),
        sticky_rooms: state.sticky_rooms.clone(),
    };
    let head = serde_json::to_vec(&head).unwrap_or_default();
    push(&mut out, head.len() as u64);
    out.extend(head);
    let mut last = 0;
    for room in state.rooms() {
        push_signed(&mut out, room.nid - last);
        last = room.nid;
        for progress in [room.room, room.receipts, room.account_data] {
            push_progress(&mut out, progress);
        }
        push(&mut out, u64::from(room.timeline_limit));
        push(&mut out, room.config.map_or(0, |config| u64::from(config) + 1));
        push(&mut out, (room.members.len() as u64) << 1 | u64::from(room.is_dm));
        let mut last_member = 0;
        for member in room.members.iter() {
            push_signed(&mut out, member - last_member);
            last_member = *member;
        }
    }
    out
}

/// Reads a stored state; `None` when it has another form.
pub(crate) fn unpack(packed: &[u8]) -> Option<SentState> {
    let (&form, mut rest) = packed.split_first()?;
    let head_length = usize::try_from(take(&mut rest).filter(|_| form == FORM)?).ok()?;
    let (head, mut rest) = rest.split_at_checked(head_length)?;
    let Head { configs, has_account_data, profiles, sticky_rooms } = serde_json::from_slice(head).ok()?;
    let configs = Arc::new(configs);
    let mut state = SentState { configs, has_account_data, profiles, sticky_rooms, ..SentState::default() };
    let mut nid = 0_i64;
    while !rest.is_empty() {
        nid = nid.checked_add(take_signed(&mut rest)?)?;
        let mut room = SentRoom::new(nid);
        room.room = take_progress(&mut rest)?;
        room.receipts = take_progress(&mut rest)?;
        room.account_data = take_progress(&mut rest)?;
        room.timeline_limit = u32::try_from(take(&mut rest)?).ok()?;
        room.config = take(&mut rest)?.checked_sub(1).and_then(|config| u16::try_from(config).ok());
        let members = take(&mut rest)?;
        room.is_dm = members & 1 == 1;
        let mut member = 0_i64;
        let mut list = Vec::new();
        for _ in 0..members >> 1 {
            member = member.checked_add(take_signed(&mut rest)?)?;
            list.push(member);
        }
        room.members = list.into();
        state.set(room);
    }
    Some(state)
}

fn push_progress(out: &mut Vec<u8>, progress: Progress) {
    push_signed(
        out,
        match progress {
            Progress::Never => -1,
            Progress::Live => -2,
            Progress::Upto(position) => position,
        },
    );
}

fn take_progress(bytes: &mut &[u8]) -> Option<Progress> {
    match take_signed(bytes)? {
        -1 => Some(Progress::Never),
        -2 => Some(Progress::Live),
        position => (position >= 0).then_some(Progress::Upto(position)),
    }
}
