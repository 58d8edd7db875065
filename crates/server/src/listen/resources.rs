//! The paths that a listener's `resources` serve, as in Synapse's `_configure_named_resource`.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use plexus_base::config::ResourceName::{self, Client, Consent, Federation, Keys, Media, Metrics, Openid, Static};
use plexus_http::ApiError;

/// Path prefixes and the resources that serve them; the first that matches decides. /health is served by every
/// listener.
const SERVED_BY: [(&str, &[ResourceName]); 14] = [
    ("/_matrix/media", &[Media, Client, Federation]),
    ("/_matrix/client/v1/media", &[Media, Client]),
    ("/_matrix/federation/v1/media", &[Media, Federation]),
    ("/_matrix/federation/v1/openid/userinfo", &[Openid, Federation]),
    ("/_matrix/federation", &[Federation]),
    ("/_matrix/policy", &[Federation]),
    ("/_matrix/key", &[Keys, Federation]),
    ("/_matrix/static", &[Static, Client]),
    ("/_matrix/consent", &[Consent]),
    ("/_synapse/metrics", &[Metrics]),
    ("/_matrix/client", &[Client]),
    ("/_synapse", &[Client]),
    ("/.well-known/matrix/server", &[Client, Federation]),
    ("/", &[Client]),
];

/// Whether a listener with these resources serves `path`.
fn serves(resources: &[ResourceName], path: &str) -> bool {
    SERVED_BY
        .iter()
        .find(|(prefix, _)| under(prefix, path))
        .is_some_and(|(_, by)| by.iter().any(|name| resources.contains(name)))
}

/// Whether `path` is `prefix` or lies below it.
fn under(prefix: &str, path: &str) -> bool {
    prefix == "/" || path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Returns `router`, with `M_UNRECOGNIZED` for paths that `resources` do not serve.
pub(super) fn restrict(router: Router, resources: Vec<ResourceName>) -> Router {
    let resources: Arc<[ResourceName]> = resources.into();
    router.layer(from_fn(move |request: Request, next: Next| answer(Arc::clone(&resources), request, next)))
}

async fn answer(resources: Arc<[ResourceName]>, request: Request, next: Next) -> Response {
    if serves(&resources, request.uri().path()) {
        next.run(request).await
    } else {
        ApiError::unrecognized().into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_resource_serves_its_own() {
        assert!(serves(&[Client], "/_matrix/client/versions"));
        assert!(serves(&[Client], "/_matrix/media/v3/config"));
        assert!(serves(&[Client], "/_synapse/admin/v1/register"));
        assert!(serves(&[Client], "/.well-known/matrix/client"));
        assert!(serves(&[Federation], "/.well-known/matrix/server"));
        assert!(!serves(&[Federation], "/_matrix/client/versions"));
        assert!(serves(&[Federation], "/_matrix/key/v2/server"));
        assert!(serves(&[Media], "/_matrix/client/v1/media/config"));
        assert!(!serves(&[Media], "/_matrix/client/v1/mediate"));
        assert!(serves(&[Keys], "/_matrix/key/v2/query/a.example"));
        assert!(!serves(&[Keys], "/_matrix/federation/v1/version"));
        assert!(serves(&[Openid], "/_matrix/federation/v1/openid/userinfo"));
        assert!(!serves(&[Openid], "/_matrix/federation/v1/version"));
        assert!(!serves(&[Metrics], "/"));
    }
}
