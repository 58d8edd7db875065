//! A user of matrix-sdk whose client syncs.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use matrix_sdk::encryption::{BackupDownloadStrategy, EncryptionSettings};
use matrix_sdk::room::Room;
use matrix_sdk::ruma::api::client::account::register::v3::Request as Registration;
use matrix_sdk::ruma::api::client::uiaa::{AuthData, Dummy};
use matrix_sdk::ruma::{OwnedDeviceId, OwnedEventId, OwnedRoomId, OwnedUserId};
use matrix_sdk::{Client, RoomState};
use matrix_sdk_ui::sync_service::{State, SyncService};

/// How long a step may take.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A device of a user, with a client that syncs.
pub struct User {
    pub client: Client,
    pub sync: Arc<SyncService>,
}

impl User {
    /// Registers a user, whose cross-signing keys are uploaded.
    pub async fn register(server: &str, name: &str) -> Result<Self> {
        let client = client(server).await?;
        let mut request = Registration::new();
        request.username = Some(name.to_owned());
        request.password = Some(password(name));
        request.auth = Some(AuthData::Dummy(Dummy::new()));
        client.matrix_auth().register(request).await.context("register")?;
        client.encryption().wait_for_e2ee_initialization_tasks().await;
        client.encryption().bootstrap_cross_signing_if_needed(None).await.context("cross-signing keys")?;
        Self::of(client).await
    }

    /// Logs in on another device.
    pub async fn log_in(server: &str, name: &str) -> Result<Self> {
        let client = client(server).await?;
        client.matrix_auth().login_username(name, &password(name)).send().await.context("log in")?;
        client.encryption().wait_for_e2ee_initialization_tasks().await;
        Self::of(client).await
    }

    async fn of(client: Client) -> Result<Self> {
        client.event_cache().subscribe()?;
        let sync = Arc::new(SyncService::builder(client.clone()).build().await.context("sync service")?);
        sync.start().await;
        let user = Self { client, sync };
        eventually("the sync service runs", async || {
            Ok(matches!(user.sync.state().get(), State::Running).then_some(()))
        })
        .await?;
        Ok(user)
    }

    pub fn id(&self) -> Result<OwnedUserId> {
        Ok(self.client.user_id().context("a user id")?.to_owned())
    }

    pub fn device_id(&self) -> Result<OwnedDeviceId> {
        Ok(self.client.device_id().context("a device id")?.to_owned())
    }

    /// Waits until the room list has the room in a state.
    pub async fn room(&self, id: &OwnedRoomId, state: RoomState) -> Result<Room> {
        eventually("the room is in the list", async || {
            Ok(self.client.get_room(id).filter(|room| room.state() == state))
        })
        .await
    }

    /// Waits until the user can read an encrypted message.
    pub async fn read(&self, room: &OwnedRoomId, event: &OwnedEventId) -> Result<String> {
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

async fn client(server: &str) -> Result<Client> {
    let settings = EncryptionSettings {
        auto_enable_cross_signing: false,
        backup_download_strategy: BackupDownloadStrategy::OneShot,
        auto_enable_backups: false,
    };
    Ok(Client::builder().homeserver_url(server).with_encryption_settings(settings).build().await?)
}

fn password(name: &str) -> String {
    format!("password of {name}")
}

/// Repeats `act` until it returns something.
pub async fn eventually<T>(what: &str, act: impl AsyncFn() -> Result<Option<T>>) -> Result<T> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while tokio::time::Instant::now() < deadline {
        if let Some(found) = act().await? {
            return Ok(found);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("not within {PATIENCE:?}: {what}")
}
