//! GET /_matrix/client/v3/thirdparty/user

use plexus_http::{AuthGuest, JsonBody};

pub(crate) async fn handle(AuthGuest(_): AuthGuest) -> JsonBody<[(); 0]> {
    JsonBody([])
}
