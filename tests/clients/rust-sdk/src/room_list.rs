//! The list of rooms, with filters, sorted by recency.

use std::pin::pin;

use anyhow::{Context, Result};
use futures_util::{FutureExt as _, StreamExt as _};
use matrix_sdk::ruma::OwnedRoomId;
use matrix_sdk_ui::room_list_service::filters::{
    BoxedFilterFn, RoomCategory, new_filter_all, new_filter_category, new_filter_favourite,
    new_filter_fuzzy_match_room_name, new_filter_invite, new_filter_joined, new_filter_non_left,
};
use tokio::time::timeout;

use crate::user::{PATIENCE, User};

/// The filters of a list.
pub enum Shown<'s> {
    NonLeft,
    Joined,
    Invited,
    Favourite,
    Direct,
    Named(&'s str),
}

impl Shown<'_> {
    fn filter(&self) -> BoxedFilterFn {
        match self {
            Self::NonLeft => Box::new(new_filter_non_left()),
            Self::Joined => Box::new(new_filter_joined()),
            Self::Invited => Box::new(new_filter_invite()),
            Self::Favourite => Box::new(new_filter_favourite()),
            Self::Direct => Box::new(new_filter_category(RoomCategory::People)),
            Self::Named(name) => Box::new(new_filter_all(vec![
                Box::new(new_filter_non_left()),
                Box::new(new_filter_fuzzy_match_room_name(name)),
            ])),
        }
    }
}

/// Waits until the list with a filter has these rooms in this order.
pub async fn require(user: &User, shown: Shown<'_>, expected: &[&OwnedRoomId]) -> Result<()> {
    let list = user.sync.room_list_service().all_rooms().await?;
    let (entries, controller) = list.entries_with_dynamic_adapters(20);
    let mut entries = pin!(entries);
    controller.set_filter(shown.filter());
    let mut rooms = matrix_sdk_ui::eyeball_im::Vector::new();
    let is_there = |rooms: &matrix_sdk_ui::eyeball_im::Vector<_>| {
        let ids: Vec<&matrix_sdk::ruma::RoomId> =
            rooms.iter().map(|room: &matrix_sdk_ui::room_list_service::RoomListItem| room.room_id()).collect();
        ids.iter().eq(expected.iter())
    };
    let update = async {
        while let Some(diffs) = entries.next().await {
            diffs.into_iter().for_each(|diff| diff.apply(&mut rooms));
            while let Some(Some(more)) = entries.next().now_or_never() {
                more.into_iter().for_each(|diff| diff.apply(&mut rooms));
            }
            if is_there(&rooms) {
                return Some(());
            }
        }
        None
    };
    let found = timeout(PATIENCE, update).await;
    let ids: Vec<_> = rooms.iter().map(|room| room.room_id().to_owned()).collect();
    found.with_context(|| format!("the list holds {ids:?} instead of {expected:?}"))?.context("the list ends")
}
