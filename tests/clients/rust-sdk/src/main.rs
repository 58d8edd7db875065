//! Two users of matrix-sdk talk through a homeserver: the room list and the keys come by simplified sliding sync. The
//! argument is the homeserver's URL. Each step that succeeds prints `ok - STEP`.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use matrix_sdk::room::Room;
use matrix_sdk::ruma::api::client::account::register::v3::Request as Registration;
use matrix_sdk::ruma::api::client::room::create_room::v3::{Request as NewRoom, RoomPreset};
use matrix_sdk::ruma::api::client::uiaa::{AuthData, Dummy};
use matrix_sdk::ruma::events::room::encryption::RoomEncryptionEventContent;
use matrix_sdk::ruma::events::room::message::RoomMessageEventContent;
use matrix_sdk::ruma::events::{EmptyStateKey, InitialStateEvent};
use matrix_sdk::ruma::{OwnedEventId, OwnedRoomId};
use matrix_sdk::{Client, RoomState};
use matrix_sdk_ui::sync_service::{State, SyncService};

/// How long a step may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A user with a client that syncs.
struct User {
    client: Client,
    sync: SyncService,
}

impl User {
    async fn register(server: &str, name: &str) -> Result<Self> {
        let client = Client::builder().homeserver_url(server).build().await?;
        let mut request = Registration::new();
        request.username = Some(name.to_owned());
        request.password = Some(format!("password of {name}"));
        request.auth = Some(AuthData::Dummy(Dummy::new()));
        client.matrix_auth().register(request).await.context("register")?;
        client.event_cache().subscribe()?;
        let sync = SyncService::builder(client.clone()).build().await.context("sync service")?;
        sync.start().await;
        let user = Self { client, sync };
        eventually("the sync service runs", async || {
            Ok(matches!(user.sync.state().get(), State::Running).then_some(()))
        })
        .await?;
        Ok(user)
    }

    /// Waits until the room list has the room in a state.
    async fn room(&self, id: &OwnedRoomId, state: RoomState) -> Result<Room> {
        eventually("the room is in the list", async || {
            Ok(self.client.get_room(id).filter(|room| room.state() == state))
        })
        .await
    }

    /// Waits until the user can read a message.
    async fn read(&self, room: &OwnedRoomId, event: &OwnedEventId) -> Result<String> {
        let room = self.room(room, RoomState::Joined).await?;
        eventually("the message is decrypted", async || {
            let event = room.event(event, None).await?;
            let body = event.raw().get_field::<serde_json::Value>("content")?;
            let body = body.and_then(|content| content["body"].as_str().map(str::to_owned));
            Ok(body.filter(|_| event.encryption_info().is_some()))
        })
        .await
    }
}

/// Repeats `act` until it returns something.
async fn eventually<T>(what: &str, act: impl AsyncFn() -> Result<Option<T>>) -> Result<T> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while tokio::time::Instant::now() < deadline {
        if let Some(found) = act().await? {
            return Ok(found);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("not within {PATIENCE:?}: {what}")
}

async fn say(room: &Room, text: &str) -> Result<OwnedEventId> {
    Ok(room.send(RoomMessageEventContent::text_plain(text)).await?.response.event_id)
}

#[tokio::main]
async fn main() -> Result<()> {
    let server = std::env::args().nth(1).context("the homeserver's URL is the argument")?;
    let (alice, bob) = (User::register(&server, "rusty").await?, User::register(&server, "ferris").await?);
    println!("ok - register, and sync by sliding sync");

    let mut new = NewRoom::new();
    new.preset = Some(RoomPreset::PrivateChat);
    new.name = Some("Crabs".to_owned());
    new.invite = vec![bob.client.user_id().context("a user id")?.to_owned()];
    let encryption = RoomEncryptionEventContent::with_recommended_defaults();
    new.initial_state = vec![InitialStateEvent::new(EmptyStateKey, encryption).to_raw_any()];
    let id = alice.client.create_room(new).await?.room_id().to_owned();
    let invite = bob.room(&id, RoomState::Invited).await?;
    println!("ok - an invite is in the room list");

    invite.join().await?;
    let theirs = bob.room(&id, RoomState::Joined).await?;
    eventually("the name is known", async || Ok(theirs.name().filter(|name| name == "Crabs"))).await?;
    eventually("both members are counted", async || Ok((theirs.joined_members_count() == 2).then_some(()))).await?;
    println!("ok - the joined room has its name and members");

    let mine = alice.room(&id, RoomState::Joined).await?;
    eventually("the join arrives", async || Ok((mine.joined_members_count() == 2).then_some(()))).await?;
    let message = say(&mine, "encrypted").await?;
    anyhow::ensure!(bob.read(&id, &message).await? == "encrypted");
    let answer = say(&theirs, "encrypted, too").await?;
    anyhow::ensure!(alice.read(&id, &answer).await? == "encrypted, too");
    println!("ok - encrypted messages in both directions");

    bob.sync.stop().await;
    let missed = say(&mine, "while away").await?;
    bob.sync.start().await;
    anyhow::ensure!(bob.read(&id, &missed).await? == "while away");
    println!("ok - a message from while the client was away");

    theirs.leave().await?;
    eventually("the leave arrives", async || Ok((mine.joined_members_count() == 1).then_some(()))).await?;
    alice.sync.stop().await;
    bob.sync.stop().await;
    println!("ok - leave");
    Ok(())
}
