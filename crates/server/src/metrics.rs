//! `/_synapse/metrics`, in Prometheus' text format.

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use plexus_rooms::Rooms;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

const PATH: &str = "/_synapse/metrics";
/// The text format that every version of Prometheus reads. The OpenMetrics text of gauges is also valid in it.
const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Returns routes that serve the metrics at every path, for listeners of type `metrics`.
pub(crate) fn everywhere(rooms: Arc<Rooms>, verifies_certificates: bool) -> Router {
    let registry = Arc::new(registry(rooms, verifies_certificates));
    let metrics = async move || respond(&registry);
    Router::new().route("/", get(metrics.clone())).route("/{*path}", get(metrics))
}

/// Returns the route of the metrics; listeners without the resource `metrics` hide it.
pub(crate) fn router(rooms: Arc<Rooms>, verifies_certificates: bool) -> Router {
    let registry = Arc::new(registry(rooms, verifies_certificates));
    Router::new().route(PATH, get(async move || respond(&registry)))
}

fn registry(rooms: Arc<Rooms>, verifies_certificates: bool) -> Registry {
    let mut registry = Registry::default();
    let gauge = Gauge::<i64>::default();
    gauge.set(verifies_certificates.into());
    let help = "Whether the certificates of other servers and services are checked: 0 with \
                use_insecure_ssl_client_just_for_testing_do_not_use";
    registry.register("plexus_certificates_verified", help, gauge);
    registry.register_collector(Box::new(Caches(rooms)));
    registry
}

fn respond(registry: &Registry) -> Response {
    let mut out = String::new();
    match text::encode(&mut out, registry) {
        Ok(()) => ([(CONTENT_TYPE, FORMAT)], out).into_response(),
        Err(fmt::Error) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Reads the sizes of caches when metrics are requested.
struct Caches(Arc<Rooms>);

impl fmt::Debug for Caches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Caches").finish_non_exhaustive()
    }
}

impl Collector for Caches {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let caches = self.0.caches();
        let entries = caches.iter().map(|cache| (cache.name, cache.entries));
        encode_gauges(&mut encoder, "plexus_cache_entries", "Entries of a cache.", entries)?;
        let bytes = caches.iter().map(|cache| (cache.name, cache.bytes));
        encode_gauges(&mut encoder, "plexus_cache_bytes", "Approximate memory of a cache.", bytes)
    }
}

fn encode_gauges<'c>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl Iterator<Item = (&'c str, u64)>,
) -> fmt::Result {
    let mut gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (cache, value) in values {
        gauge.encode_family(&[("cache", cache)])?.encode_gauge(&value)?;
    }
    Ok(())
}
