//! `/_synapse/metrics`, in Prometheus' text format.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use plexus_delivery::PushCounts;
use plexus_media::Previews;
use plexus_rooms::Rooms;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

const PATH: &str = "/_synapse/metrics";
/// The text format that every version of Prometheus reads. The OpenMetrics text of gauges is also valid in it.
const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The subjects of the metrics.
pub(crate) struct Measured {
    pub(crate) rooms: Arc<Rooms>,
    pub(crate) previews: Arc<Previews>,
    /// `None` when nothing is sent to push gateways.
    pub(crate) pushes: Option<Arc<PushCounts>>,
    /// Whether the certificates of other servers and services are checked.
    pub(crate) verifies_certificates: bool,
}

/// Returns routes that serve the metrics at every path, for listeners of type `metrics`.
pub(crate) fn everywhere(measured: &Measured) -> Router {
    let registry = Arc::new(registry(measured));
    let metrics = async move || respond(&registry);
    Router::new().route("/", get(metrics.clone())).route("/{*path}", get(metrics))
}

/// Returns the route of the metrics; listeners without the resource `metrics` hide it.
pub(crate) fn router(measured: &Measured) -> Router {
    let registry = Arc::new(registry(measured));
    Router::new().route(PATH, get(async move || respond(&registry)))
}

fn registry(measured: &Measured) -> Registry {
    let Measured { rooms, previews, pushes, verifies_certificates } = measured;
    let mut registry = Registry::default();
    let gauge = Gauge::<i64>::default();
    gauge.set((*verifies_certificates).into());
    let help = "Whether the certificates of other servers and services are checked: 0 with \
                use_insecure_ssl_client_just_for_testing_do_not_use";
    registry.register("plexus_certificates_verified", help, gauge);
    registry.register_collector(Box::new(Caches(Arc::clone(rooms))));
    if let Some(pushes) = pushes {
        registry.register_collector(Box::new(Pushes(Arc::clone(pushes))));
    }
    if previews.is_enabled() {
        registry.register_collector(Box::new(UrlPreviews(Arc::clone(previews))));
    }
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

/// Reads the counts of notifications when metrics are requested.
#[derive(Debug)]
struct Pushes(Arc<PushCounts>);

impl Collector for Pushes {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let PushCounts { sent, failed, badges_sent, badges_failed } = &*self.0;
        for (name, help, count) in [
            ("plexus_pushes_sent", "Notifications that push gateways accepted.", sent),
            ("plexus_pushes_failed", "Attempts to send a notification that failed.", failed),
            ("plexus_badges_sent", "Updates of badges that push gateways accepted.", badges_sent),
            ("plexus_badges_failed", "Updates of badges that failed.", badges_failed),
        ] {
            let mut counter = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            counter.encode_counter::<NoLabelSet, _, u64>(&count.load(Ordering::Relaxed), None)?;
        }
        Ok(())
    }
}

/// Reads the counts of previews of links when metrics are requested.
struct UrlPreviews(Arc<Previews>);

impl fmt::Debug for UrlPreviews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UrlPreviews").finish_non_exhaustive()
    }
}

impl Collector for UrlPreviews {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let counts = self.0.counts();
        let help = "Previews of links, by what became of them.";
        let mut counter = encoder.encode_descriptor("plexus_url_previews", help, None, MetricType::Counter)?;
        for (outcome, count) in [("made", counts.made), ("failed", counts.failed), ("stored", counts.stored)] {
            counter.encode_family(&[("outcome", outcome)])?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        Ok(())
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
