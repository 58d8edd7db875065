//! Paths below /_matrix/client/v3/pushrules/ that name neither rules nor a part of one.

use plexus_http::{ApiError, Auth};

pub(crate) async fn handle(Auth(_): Auth) -> ApiError {
    super::unrecognized_path()
}
