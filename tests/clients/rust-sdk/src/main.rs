//! Two users of matrix-sdk talk through a homeserver: the room list and the keys come by simplified sliding sync. The
//! argument is the homeserver's URL. Each step that succeeds prints `ok - STEP`.

mod notifications;
mod recovery;
mod room_list;
mod user;
mod verification;

use anyhow::{Context, Result, ensure};
use matrix_sdk::RoomState;
use matrix_sdk::room::Room;
use matrix_sdk::ruma::api::client::room::create_room::v3::{Request as NewRoom, RoomPreset};
use matrix_sdk::ruma::events::room::encryption::RoomEncryptionEventContent;
use matrix_sdk::ruma::events::room::message::RoomMessageEventContent;
use matrix_sdk::ruma::events::{EmptyStateKey, InitialStateEvent};
use matrix_sdk::ruma::{OwnedEventId, OwnedRoomId};

use room_list::Shown;
use user::{User, eventually};

async fn say(room: &Room, text: &str) -> Result<OwnedEventId> {
    Ok(room.send(RoomMessageEventContent::text_plain(text)).await?.response.event_id)
}

/// Creates an encrypted room with a name and an invited user.
async fn create(by: &User, name: &str, invited: &User) -> Result<OwnedRoomId> {
    let mut new = NewRoom::new();
    new.preset = Some(RoomPreset::PrivateChat);
    new.name = Some(name.to_owned());
    new.invite = vec![invited.id()?];
    let encryption = RoomEncryptionEventContent::with_recommended_defaults();
    new.initial_state = vec![InitialStateEvent::new(EmptyStateKey, encryption).to_raw_any()];
    Ok(by.client.create_room(new).await?.room_id().to_owned())
}

/// Two users talk in a room.
async fn conversation(alice: &User, bob: &User) -> Result<(OwnedRoomId, OwnedEventId)> {
    let id = create(alice, "Crabs", bob).await?;
    let invite = bob.room(&id, RoomState::Invited).await?;
    notifications::invite(bob, &id, alice).await.context("the notification of the invite")?;
    println!("ok - an invite is in the room list and notifies");

    invite.join().await?;
    let theirs = bob.room(&id, RoomState::Joined).await?;
    eventually("the name is known", async || Ok(theirs.name().filter(|name| name == "Crabs"))).await?;
    eventually("both members are counted", async || Ok((theirs.joined_members_count() == 2).then_some(()))).await?;
    println!("ok - the joined room has its name and members");

    let mine = alice.room(&id, RoomState::Joined).await?;
    eventually("the join arrives", async || Ok((mine.joined_members_count() == 2).then_some(()))).await?;
    let message = say(&mine, "encrypted").await?;
    ensure!(bob.read(&id, &message).await? == "encrypted");
    let answer = say(&theirs, "encrypted, too").await?;
    ensure!(alice.read(&id, &answer).await? == "encrypted, too");
    println!("ok - encrypted messages in both directions");

    notifications::message(bob, &id, &message, "encrypted").await.context("the notification of a message")?;
    println!("ok - an encrypted message notifies");

    bob.sync.stop().await;
    let missed = say(&mine, "while away").await?;
    bob.sync.start().await;
    ensure!(bob.read(&id, &missed).await? == "while away");
    println!("ok - a message from while the client was away");
    Ok((id, message))
}

/// The room list has filters, and the newest room first.
async fn lists(alice: &User, bob: &User, crabs: &OwnedRoomId) -> Result<()> {
    let lobsters = create(alice, "Lobsters", bob).await?;
    let shrimps = create(bob, "Shrimps", alice).await?;
    room_list::require(bob, Shown::Invited, &[&lobsters]).await?;
    // Rooms with messages are sorted by the newest one.
    say(&bob.room(&shrimps, RoomState::Joined).await?, "first").await?;
    room_list::require(bob, Shown::Joined, &[&shrimps, crabs]).await?;
    say(&bob.room(crabs, RoomState::Joined).await?, "to the top").await?;
    room_list::require(bob, Shown::Joined, &[crabs, &shrimps]).await?;
    room_list::require(bob, Shown::Named("shrm"), &[&shrimps]).await?;
    bob.room(crabs, RoomState::Joined).await?.set_is_favourite(true, None).await?;
    room_list::require(bob, Shown::Favourite, &[crabs]).await?;
    bob.room(&shrimps, RoomState::Joined).await?.set_is_direct(true).await?;
    room_list::require(bob, Shown::Direct, &[&shrimps]).await?;
    bob.room(&lobsters, RoomState::Invited).await?.leave().await?;
    room_list::require(bob, Shown::NonLeft, &[crabs, &shrimps]).await?;
    println!("ok - the room list is filtered and sorted");
    Ok(())
}

/// Devices verify each other, and keys come to them.
async fn devices(server: &str, alice: &User, room: &OwnedRoomId, early: &OwnedEventId) -> Result<()> {
    let second = User::log_in(server, "rusty").await?;
    verification::verify(alice, &second).await?;
    println!("ok - two devices verify each other");

    let key = recovery::enable(alice).await?;
    println!("ok - keys are backed up");

    let third = User::log_in(server, "rusty").await?;
    recovery::recover(&third, &key).await?;
    verification::require_verified(alice, &third).await?;
    ensure!(third.read(room, early).await? == "encrypted", "a message from before the device was there");
    println!("ok - a new device recovers the keys");
    for device in [second, third] {
        device.sync.stop().await;
        device.client.matrix_auth().logout().await?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let server = std::env::args().nth(1).context("the homeserver's URL is the argument")?;
    let (alice, bob) = (User::register(&server, "rusty").await?, User::register(&server, "ferris").await?);
    println!("ok - register, and sync by sliding sync");

    let (room, message) = conversation(&alice, &bob).await?;
    lists(&alice, &bob, &room).await?;
    devices(&server, &alice, &room, &message).await?;

    let mine = alice.room(&room, RoomState::Joined).await?;
    bob.room(&room, RoomState::Joined).await?.leave().await?;
    eventually("the leave arrives", async || Ok((mine.joined_members_count() == 1).then_some(()))).await?;
    alice.sync.stop().await;
    bob.sync.stop().await;
    println!("ok - leave");
    Ok(())
}
