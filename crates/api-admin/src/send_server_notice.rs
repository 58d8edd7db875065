//! POST /_synapse/admin/v1/send_server_notice and PUT /_synapse/admin/v1/send_server_notice/{txnId}

use std::sync::Arc;

use plexus_accounts::Requester;
use plexus_http::room_errors::{create_error, membership_error, send_error};
use plexus_http::{ApiError, AuthAdmin, Json, JsonBody, Path, State};
use plexus_protocol::id::{EventId, ServerName, UserId};
use plexus_protocol::json::Object;
use plexus_rooms::Transaction;
use plexus_service::{Notice, NoticeError, ServerNotices};
use plexus_store::repo::transactions::MAX_TXN_ID_BYTES;
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
pub(crate) struct Request {
    user_id: UserId,
    content: Object,
    /// `m.room.message` if not given.
    r#type: Option<String>,
    state_key: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct Response {
    event_id: EventId,
}

/// Sends a notice to a user.
pub(crate) async fn send(
    AuthAdmin(_): AuthAdmin,
    State(notices): State<Option<Arc<ServerNotices>>>,
    State(server_name): State<ServerName>,
    Json(request): Json<Request>,
) -> Result<JsonBody<Response>, ApiError> {
    send_notice(notices, &server_name, request, None).await
}

/// Sends a notice to a user. The same transaction id of the same administrator and user sends no second one.
pub(crate) async fn send_once(
    AuthAdmin(requester): AuthAdmin,
    State(notices): State<Option<Arc<ServerNotices>>>,
    State(server_name): State<ServerName>,
    Path(txn_id): Path<String>,
    Json(request): Json<Request>,
) -> Result<JsonBody<Response>, ApiError> {
    let transaction = transaction(&requester, &txn_id)?;
    send_notice(notices, &server_name, request, Some(transaction)).await
}

async fn send_notice(
    notices: Option<Arc<ServerNotices>>,
    server_name: &ServerName,
    request: Request,
    transaction: Option<Transaction>,
) -> Result<JsonBody<Response>, ApiError> {
    let notices = notices.ok_or_else(|| ApiError::unknown("Server notices are not enabled on this server"))?;
    if request.user_id.server_name() != server_name.as_str() {
        return Err(ApiError::unknown("Server notices can only be sent to local users"));
    }
    let notice = Notice {
        user: request.user_id,
        event_type: request.r#type.unwrap_or_else(|| "m.room.message".to_owned()),
        state_key: request.state_key,
        content: request.content,
        transaction,
    };
    let sent = notices.send(notice).await.map_err(not_sent)?;
    Ok(JsonBody(Response { event_id: sent.event_id }))
}

/// Returns the transaction: its id is unique for the administrator's device.
fn transaction(requester: &Requester, txn_id: &str) -> Result<Transaction, ApiError> {
    if txn_id.len() > MAX_TXN_ID_BYTES {
        return Err(ApiError::invalid_param(format!("The transaction id is longer than {MAX_TXN_ID_BYTES} bytes")));
    }
    let by = format!("{} {}", requester.user_id, requester.device_id.as_deref().unwrap_or_default());
    Ok(Transaction { device_id: by.into(), txn_id: txn_id.into() })
}

fn not_sent(error: NoticeError) -> ApiError {
    match error {
        NoticeError::UnknownUser => ApiError::not_found(error.to_string()),
        NoticeError::Create(error) => create_error(error),
        NoticeError::Membership(error) => membership_error(error),
        NoticeError::Send(error) => send_error(error),
        NoticeError::Db(error) => error.into(),
    }
}
