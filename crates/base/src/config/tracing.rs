use super::blocking::Object;
use crate::schema::options;

options! {
    /// Tracing of requests.
    pub struct TracingSection {
        /// OpenTracing.
        later opentracing: Opentracing,
    }
}

options! {
    /// OpenTracing.
    pub struct Opentracing {
        /// Whether requests are traced.
        later enabled: bool = false,
        /// Servers, as regular expressions, with which traces are shared.
        later homeserver_whitelist: Vec<String>,
        /// Users whose requests are always traced.
        later force_tracing_for_users: Vec<String>,
        /// Settings of Jaeger's client.
        later jaeger_config: Object,
    }
}
