use super::blocking::Object;
use crate::schema::options;

options! {
    /// Monitoring.
    pub struct MetricsSection {
        /// Whether Prometheus metrics are collected. They are served by listeners of type `metrics`, and by those of
        /// type `http` with the resource `metrics`.
        acts enable_metrics: bool = false,
        /// Reporting errors to Sentry.
        later sentry: Option<Sentry>,
        /// Metrics with a cost.
        later metrics_flags: MetricsFlags,
        /// Whether statistics of this server are sent to the Matrix.org Foundation. Synapse does not start without this
        /// option; here it is off when not set.
        later report_stats: bool = false,
        /// Where statistics are sent.
        later report_stats_endpoint: String = "https://matrix.org/report-usage-stats/push".to_owned(),
        /// The port of a listener for metrics: the old form of a listener of type http with the resource `metrics`.
        acts metrics_port: Option<u16>,
        /// The address of that listener; 127.0.0.1 when not set.
        acts metrics_bind_host: Option<String>,
    }
}

options! {
    /// Reporting errors to Sentry.
    pub struct Sentry {
        /// Where errors are sent.
        later dsn: Option<String>,
        /// The name of this installation.
        later environment: Option<String>,
        /// Further settings for Sentry's library.
        later options: Object,
    }
}

options! {
    /// Metrics with a cost.
    pub struct MetricsFlags {
        /// Whether known servers are counted.
        later known_servers: bool = false,
    }
}
