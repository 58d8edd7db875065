//! `/_synapse/metrics`, in Prometheus' text format.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::response::IntoResponse as _;
use axum::routing::get;
use http::header::CONTENT_TYPE;
use plexus_rooms::Rooms;

const PATH: &str = "/_synapse/metrics";
/// The version of the text format.
const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The metrics at every path, for listeners of their own.
pub fn everywhere(rooms: Arc<Rooms>) -> Router {
    let metrics = async move || ([(CONTENT_TYPE, FORMAT)], text(&rooms)).into_response();
    Router::new().route("/", get(metrics.clone())).route("/{*path}", get(metrics))
}

/// The route; listeners that do not name the resource `metrics` hide it.
pub fn router(rooms: Arc<Rooms>) -> Router {
    Router::new().route(PATH, get(async move || ([(CONTENT_TYPE, FORMAT)], text(&rooms)).into_response()))
}

fn text(rooms: &Rooms) -> String {
    let mut out = String::new();
    let caches = rooms.caches();
    let (entries, bytes) = ("plexus_cache_entries", "plexus_cache_bytes");
    describe(&mut out, entries, "Entries of a cache.");
    caches.iter().for_each(|cache| gauge(&mut out, entries, cache.name, cache.entries));
    describe(&mut out, bytes, "About how much memory a cache takes.");
    caches.iter().for_each(|cache| gauge(&mut out, bytes, cache.name, cache.bytes));
    out
}

fn describe(out: &mut String, name: &str, help: &str) {
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge");
}

fn gauge(out: &mut String, name: &str, cache: &str, value: u64) {
    let _ = writeln!(out, "{name}{{cache=\"{cache}\"}} {value}");
}
