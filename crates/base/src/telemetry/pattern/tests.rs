use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;

use super::*;

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the text written for the records that `log` logs.
fn written(format: &str, date_format: Option<&str>, log: impl FnOnce()) -> String {
    let pattern = Pattern::new(format, date_format);
    let format = PatternFormat { pattern, clock: Clock::manual(1_795_995_208_123) };
    let written = Written::default();
    let writer = written.clone();
    let layer = fmt::layer().with_writer(move || writer.clone()).event_format(format);
    let subscriber = tracing_subscriber::registry().with(RequestIds).with(layer);
    tracing::subscriber::with_default(subscriber, log);
    let bytes = written.0.lock().clone();
    String::from_utf8(bytes).expect("text")
}

#[test]
fn as_synapse_writes_it() {
    const PRECISE: &str = "%(asctime)s - %(name)s - %(levelname)s - %(request)s - %(message)s";
    let text = written(PRECISE, None, || {
        let span = tracing::info_span!("request", id = format!("POST-{}", 7));
        span.in_scope(|| tracing::warn!(target: "plexus_accounts::login", attempt = 3, "Failed"));
        tracing::info!(target: "plexus.access", "203.0.113.7 - 8008 - {{None}} Processed request: x");
    });
    assert_eq!(
        text,
        "2026-11-29 23:33:28,123 - plexus_accounts.login - WARNING - POST-7 - Failed attempt=3\n\
         2026-11-29 23:33:28,123 - synapse.access.http.8008 - INFO - sentinel - \
         203.0.113.7 - 8008 - {None} Processed request: x\n"
    );
}

#[test]
fn widths_dates_and_what_is_no_attribute() {
    let one = |format: &str| written(format, Some("%d/%b/%Y %H:%M"), || tracing::info!(target: "a", "said"));
    for (format, expected) in [
        ("[%(levelname)-8s]", "[INFO    ]"),
        ("[%(levelname)8s]", "[    INFO]"),
        ("[%(levelname).2s]", "[IN]"),
        ("%(msecs)03d %(levelno)05d", "123 00020"),
        ("100%% %(message)s", "100% said"),
        ("%(asctime)s %(module)s", "29/Nov/2026 23:33 tests"),
        ("50% %(nothing)s %(message", "50% - %(message"),
        ("é%(message)s", "ésaid"),
    ] {
        assert_eq!(one(format), format!("{expected}\n"), "{format}");
    }
    let unknown = Pattern::new("%(asctime)s %(nothing)s", Some("%H %Q")).unknown();
    assert_eq!(unknown, ["%(nothing)s", "%Q in datefmt"]);
}

#[test]
fn what_strangers_send_begins_no_record_and_no_escape_sequence() {
    let said = "refused\n2026 - INFO - POST-1 - 192.0.2.1\u{1b}[2J\r\u{9b}1m\u{2028}end";
    let escaped = "refused\\n2026 - INFO - POST-1 - 192.0.2.1\\u{1b}[2J\\r\\u{9b}1m\\u{2028}end";
    let text = written("%(request)s %(message)s", None, || {
        tracing::info_span!("request", id = said).in_scope(|| tracing::info!(error = %said, "{said}"));
    });
    assert_eq!(text, format!("{escaped} {escaped} error={escaped}\n"));
}
