//! Keys are backed up, and a new device gets them by the recovery key.

use anyhow::{Context, Result, ensure};
use matrix_sdk::encryption::recovery::RecoveryState;

use crate::user::{User, eventually};

/// Creates secret storage and a backup, and waits until all keys are in it. Returns the recovery key.
pub async fn enable(user: &User) -> Result<String> {
    let recovery = user.client.encryption().recovery();
    let key = recovery.enable().wait_for_backups_to_upload().await.context("enable recovery")?;
    ensure!(user.client.encryption().backups().are_enabled().await, "the backup is enabled");
    ensure!(user.client.encryption().backups().fetch_exists_on_server().await?, "the server has the backup");
    Ok(key)
}

/// Gets the secrets, and by them the keys, on a new device.
pub async fn recover(user: &User, key: &str) -> Result<()> {
    let recovery = user.client.encryption().recovery();
    eventually("the account data says that there is something to recover", async || {
        Ok((recovery.state() == RecoveryState::Incomplete).then_some(()))
    })
    .await?;
    recovery.recover(key).await.context("recover")?;
    eventually("everything is recovered", async || Ok((recovery.state() == RecoveryState::Enabled).then_some(()))).await
}
