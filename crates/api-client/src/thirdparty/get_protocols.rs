//! GET /_matrix/client/v3/thirdparty/protocols

use plexus_http::{AuthGuest, Empty};

pub(crate) async fn handle(AuthGuest(_): AuthGuest) -> Empty {
    Empty
}
