//! GET /_matrix/federation/v1/query/{queryType}

use plexus_http::{ApiError, Path};

/// Refuses queries of a type that this server does not know.
pub(crate) async fn handle(Path(query_type): Path<String>) -> ApiError {
    ApiError::not_found(format!("No handler for Query type '{query_type}'"))
}
