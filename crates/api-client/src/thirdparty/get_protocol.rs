//! GET /_matrix/client/v3/thirdparty/protocol/{protocol}

use plexus_http::{ApiError, AuthGuest};

pub(crate) async fn handle(AuthGuest(_): AuthGuest) -> ApiError {
    ApiError::not_found("Unknown protocol")
}
