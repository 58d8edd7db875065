//! /_synapse/admin/v1/registration_tokens: the tokens that `m.login.registration_token` accepts.

use http::StatusCode;
use plexus_accounts::registration_tokens::{self as tokens, Change, DEFAULT_LENGTH, NewToken, RegistrationTokenError};
use plexus_base::{Clock, Random};
use plexus_http::{ApiError, AuthAdmin, Empty, Json, JsonBody, Path, Query, State};
use plexus_protocol::json::{Object, Value};
use plexus_service::RegistrationTokenInfo;
use plexus_store::{Database, DbError};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
pub(crate) struct Filter {
    valid: Option<bool>,
}

#[derive(Serialize)]
pub(crate) struct ListResponse {
    registration_tokens: Vec<RegistrationTokenInfo>,
}

/// GET: all tokens, or those that can, or cannot, be used.
pub(crate) async fn list(
    AuthAdmin(_): AuthAdmin,
    Query(filter): Query<Filter>,
    State(db): State<Database>,
    State(clock): State<Clock>,
) -> Result<JsonBody<ListResponse>, ApiError> {
    let now = clock.now_ms();
    let found = db.read::<_, DbError, _>(move |tx| tokens::list(tx, filter.valid, now)).await?;
    Ok(JsonBody(ListResponse { registration_tokens: found.into_iter().map(RegistrationTokenInfo::from).collect() }))
}

/// POST .../new
pub(crate) async fn create(
    AuthAdmin(_): AuthAdmin,
    State(db): State<Database>,
    State(clock): State<Clock>,
    State(random): State<Random>,
    Json(body): Json<Object>,
) -> Result<JsonBody<RegistrationTokenInfo>, ApiError> {
    let token = match body.get("token") {
        Some(Value::String(token)) => NewToken::Given(token.clone()),
        Some(_) => return Err(ApiError::invalid_param("token must be a string")),
        None => NewToken::Generated(length(&body)?),
    };
    let (allows, now) = (change(&body)?, clock.now_ms());
    let created = db.write(move |tx| tokens::create(tx, &random, now, token, allows)).await;
    created.map(|token| JsonBody(token.into())).map_err(refused)
}

/// GET .../{token}
pub(crate) async fn get(
    AuthAdmin(_): AuthAdmin,
    Path(token): Path<String>,
    State(db): State<Database>,
) -> Result<JsonBody<RegistrationTokenInfo>, ApiError> {
    let found = db.read(move |tx| tokens::get(tx, &token)).await;
    found.map(|token| JsonBody(token.into())).map_err(refused)
}

/// PUT .../{token}
pub(crate) async fn update(
    AuthAdmin(_): AuthAdmin,
    Path(token): Path<String>,
    State(db): State<Database>,
    State(clock): State<Clock>,
    Json(body): Json<Object>,
) -> Result<JsonBody<RegistrationTokenInfo>, ApiError> {
    let (change, now) = (change(&body)?, clock.now_ms());
    let updated = db.write(move |tx| tokens::update(tx, now, &token, change)).await;
    updated.map(|token| JsonBody(token.into())).map_err(refused)
}

/// DELETE .../{token}
pub(crate) async fn delete(
    AuthAdmin(_): AuthAdmin,
    Path(token): Path<String>,
    State(db): State<Database>,
) -> Result<Empty, ApiError> {
    db.write(move |tx| tokens::delete(tx, &token)).await.map_err(refused)?;
    Ok(Empty)
}

fn length(body: &Object) -> Result<usize, ApiError> {
    let Some(length) = body.get("length") else { return Ok(DEFAULT_LENGTH) };
    let number = length.as_number().filter(|number| number.is_integer());
    let number = number.ok_or_else(|| ApiError::invalid_param("length must be an integer"))?;
    // A value that is no length gets the error of one that is too small or too large.
    Ok(number.as_u64().and_then(|length| usize::try_from(length).ok()).unwrap_or(0))
}

fn change(body: &Object) -> Result<Change, ApiError> {
    let uses_allowed = optional(body, "uses_allowed", "uses_allowed must be a non-negative integer or null")?;
    let expiry_ts = optional(body, "expiry_time", "expiry_time must be an integer or null")?;
    let negative = || ApiError::invalid_param("uses_allowed must be a non-negative integer or null");
    Ok(Change {
        uses_allowed: uses_allowed
            .map(|uses| uses.map(u64::try_from).transpose())
            .transpose()
            .map_err(|_| negative())?,
        // A time before 1970 is in the past.
        expiry_ts: expiry_ts.map(|expiry| expiry.map(|expiry| u64::try_from(expiry).unwrap_or(0))),
    })
}

/// Returns the integer under `name`: `None` where there is nothing, `Some(None)` for null.
fn optional(body: &Object, name: &str, problem: &'static str) -> Result<Option<Option<i64>>, ApiError> {
    match body.get(name) {
        None => Ok(None),
        Some(value) if value.is_null() => Ok(Some(None)),
        Some(value) => match value.as_i64() {
            Some(number) => Ok(Some(Some(number))),
            None => Err(ApiError::invalid_param(problem)),
        },
    }
}

fn refused(error: RegistrationTokenError) -> ApiError {
    match &error {
        RegistrationTokenError::Unknown(_) => ApiError::not_found(error.to_string()),
        RegistrationTokenError::NoneFree => {
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "M_UNKNOWN", error.to_string())
        }
        RegistrationTokenError::Database(error) => ApiError::internal(error),
        _ => ApiError::invalid_param(error.to_string()),
    }
}
