//! `GET /_matrix/federation/v1/user/devices/{userId}`
//! (<https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1userdevicesuserid>)

use plexus_protocol::id::{ServerName, UserId};
use plexus_protocol::json::Object;
use serde::Deserialize;

use crate::federation::api::endpoint::Endpoint;
use crate::federation::call::Patience;
use crate::federation::client::FederationClient;
use crate::federation::error::FederationError;

/// The endpoint.
pub const ENDPOINT: Endpoint = Endpoint::get("/_matrix/federation/v1/user/devices/{userId}");
/// The largest response, in bytes: the longest device list that is stored, with some members that are not stored.
const MAX_RESPONSE_BYTES: usize = 4 * 1024 * 1024;

/// The devices of a user.
#[derive(Debug, Deserialize)]
pub struct Response {
    /// The user.
    pub user_id: UserId,
    /// The version of the list.
    pub stream_id: i64,
    /// The devices.
    pub devices: Vec<Device>,
    /// The master key.
    pub master_key: Option<Object>,
    /// The self-signing key.
    pub self_signing_key: Option<Object>,
}

/// A device.
#[derive(Debug, Deserialize)]
pub struct Device {
    /// Its id.
    pub device_id: String,
    /// Its name.
    pub device_display_name: Option<String>,
    /// Its keys.
    pub keys: Option<Object>,
}

/// Returns the devices and cross-signing keys of a user.
///
/// # Errors
/// See [`FederationError`].
pub async fn call(client: &FederationClient, server: &ServerName, user: &UserId) -> Result<Response, FederationError> {
    let call = ENDPOINT.call(&[user.as_str()], MAX_RESPONSE_BYTES).patience(Patience::Background);
    let response: Response = client.call_json(server, call).await?;
    if response.user_id != *user {
        return Err(FederationError::malformed_response(server, "another user's"));
    }
    Ok(response)
}
