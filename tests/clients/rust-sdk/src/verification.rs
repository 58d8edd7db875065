//! Two devices of a user verify each other by short authentication strings.

use anyhow::{Context, Result, ensure};
use matrix_sdk::encryption::verification::{SasVerification, VerificationRequest, VerificationRequestState};
use matrix_sdk::ruma::events::key::verification::VerificationMethod;

use crate::user::{User, eventually};

/// Verifies `new` by `old`, another device of the same user.
pub async fn verify(old: &User, new: &User) -> Result<()> {
    let (user, device) = (new.id()?, new.device_id()?);
    let device =
        eventually("the new device is known", async || Ok(old.client.encryption().get_device(&user, &device).await?))
            .await?;
    ensure!(!device.is_verified_with_cross_signing(), "the device is not verified yet");
    let methods = vec![VerificationMethod::SasV1];
    let asked = device.request_verification_with_methods(methods.clone()).await.context("the request")?;
    let request = eventually("the request arrives", async || {
        Ok(new.client.encryption().get_verification_request(&user, asked.flow_id()).await)
    })
    .await?;
    request.accept_with_methods(methods).await.context("accept the request")?;
    eventually("the request is accepted", async || Ok(asked.is_ready().then_some(()))).await?;
    let mine = asked.start_sas().await?.context("both devices know the method")?;
    let theirs = eventually("the verification begins", async || Ok(started(&request))).await?;
    theirs.accept().await.context("accept the verification")?;
    for sas in [&mine, &theirs] {
        eventually("the strings are there", async || Ok(sas.can_be_presented().then_some(()))).await?;
    }
    let symbols = |sas: &SasVerification| sas.emoji().map(|emoji| emoji.map(|emoji| emoji.symbol));
    ensure!(symbols(&mine).is_some() && symbols(&mine) == symbols(&theirs), "both show the same");
    ensure!(mine.decimals() == theirs.decimals(), "both show the same numbers");
    mine.confirm().await?;
    theirs.confirm().await?;
    for sas in [&mine, &theirs] {
        eventually("the verification is done", async || Ok(sas.is_done().then_some(()))).await?;
    }
    eventually("the new device has the secrets", async || {
        let status = new.client.encryption().cross_signing_status().await;
        Ok(status.filter(|status| status.is_complete()).map(|_| ()))
    })
    .await?;
    require_verified(old, new).await?;
    require_verified(new, old).await
}

/// Waits until a device trusts another device of its user, by a signature of the user.
pub async fn require_verified(by: &User, of: &User) -> Result<()> {
    let (user, device) = (of.id()?, of.device_id()?);
    eventually("the device is verified", async || {
        let device = by.client.encryption().get_device(&user, &device).await?;
        Ok(device.filter(|device| device.is_verified_with_cross_signing()).map(|_| ()))
    })
    .await
}

fn started(request: &VerificationRequest) -> Option<SasVerification> {
    match request.state() {
        VerificationRequestState::Transitioned { verification } => verification.sas(),
        _ => None,
    }
}
