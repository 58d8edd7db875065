//! What a push notification shows is fetched by a sliding sync of its own.

use anyhow::{Result, bail, ensure};
use matrix_sdk::ruma::{OwnedEventId, OwnedRoomId};
use matrix_sdk_ui::notification_client::{
    NotificationClient, NotificationItem, NotificationProcessSetup, NotificationStatus, RawNotificationEvent,
};

use crate::user::User;

async fn fetch(user: &User, room: &OwnedRoomId, event: &OwnedEventId) -> Result<NotificationItem> {
    let setup = NotificationProcessSetup::SingleProcess { sync_service: user.sync.clone() };
    let client = NotificationClient::new(user.client.clone(), setup).await?;
    // Without /context, to which it falls back.
    match client.get_notification_with_sliding_sync(room, event).await? {
        NotificationStatus::Event(item) => Ok(*item),
        NotificationStatus::EventNotFound => bail!("the event is not found"),
        NotificationStatus::EventFilteredOut => bail!("the event does not notify"),
        NotificationStatus::EventRedacted => bail!("the event is redacted"),
    }
}

/// Fetches an encrypted message.
pub async fn message(user: &User, room: &OwnedRoomId, event: &OwnedEventId, text: &str) -> Result<()> {
    let item = fetch(user, room, event).await?;
    ensure!(item.room_computed_display_name == "Crabs", "{}", item.room_computed_display_name);
    ensure!(item.joined_members_count == 2 && item.is_room_encrypted == Some(true));
    let RawNotificationEvent::Timeline(event) = item.raw_event else { bail!("it is no message") };
    ensure!(event.json().get().contains(text), "it is decrypted: {}", event.json());
    Ok(())
}

/// Fetches an invite. Its event has no id in stripped state: the client finds it by the room.
pub async fn invite(user: &User, room: &OwnedRoomId, sender: &User) -> Result<()> {
    let item = fetch(user, room, &OwnedEventId::try_from("$invite")?).await?;
    let RawNotificationEvent::Invite(event) = item.raw_event else { bail!("it is no invite") };
    ensure!(event.deserialize()?.sender == sender.id()?);
    Ok(())
}
