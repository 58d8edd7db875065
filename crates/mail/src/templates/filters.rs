//! The filters of Synapse's templates.

use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use minijinja::{Environment, Error, ErrorKind};

/// Adds the filters. URLs of media begin with `public_base_url`, which ends with a `/`.
pub(super) fn add_to(environment: &mut Environment<'static>, public_base_url: String) {
    environment.add_filter("format_ts", format_ts);
    environment.add_filter("mxc_to_http", move |url: Option<&str>, width: u32, height: u32, method: Option<&str>| {
        mxc_to_http(&public_base_url, url.unwrap_or_default(), width, height, method.unwrap_or("crop"))
    });
}

/// Returns a time, in Unix ms, in a format of Python's `strftime`, in the time zone of this machine.
fn format_ts(unix_ms: i64, format: &str) -> Result<String, Error> {
    formatted(unix_ms, format, TimeZone::system())
}

fn formatted(unix_ms: i64, format: &str, zone: TimeZone) -> Result<String, Error> {
    let time = Timestamp::from_millisecond(unix_ms).map(|time| time.to_zoned_datetime(zone));
    let text = time.and_then(|time| strtime::format(format, &time));
    text.map_err(|error| Error::new(ErrorKind::InvalidOperation, "the time cannot be written").with_source(error))
}

/// Returns the URL of a thumbnail; an empty text unless `url` is an mxc URL.
fn mxc_to_http(base: &str, url: &str, width: u32, height: u32, method: &str) -> String {
    let Some((server, media)) = url.strip_prefix("mxc://").and_then(|rest| rest.split_once('/')) else {
        return String::new();
    };
    let media = media.split(['#', '?']).next().unwrap_or_default();
    let is_plain = |text: &str| {
        let permitted = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']' | '=');
        !text.is_empty() && text.chars().all(permitted)
    };
    if !is_plain(server) || !is_plain(media) {
        return String::new();
    }
    format!("{base}_matrix/media/v1/thumbnail/{server}/{media}?width={width}&height={height}&method={method}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_python_does() {
        for (format, text) in [("%H:%M", "22:13"), ("%a %d %b %Y", "Tue 14 Nov 2023"), ("%I:%M %p", "10:13 PM")] {
            assert_eq!(formatted(1_700_000_000_000, format, TimeZone::UTC).expect("a time"), text);
        }
        assert!(formatted(1_700_000_000_000, "%!", TimeZone::UTC).is_err());
        assert!(formatted(i64::MAX, "%H", TimeZone::UTC).is_err());
    }

    #[test]
    fn only_mxc_urls_have_thumbnails() {
        let url = |mxc| mxc_to_http("https://example.org/", mxc, 48, 32, "crop");
        let thumbnail = "https://example.org/_matrix/media/v1/thumbnail/a.example/x?width=48&height=32&method=crop";
        assert_eq!(url("mxc://a.example/x"), thumbnail);
        assert_eq!(url("mxc://a.example/x#y"), thumbnail);
        for none in ["", "https://a.example/x", "mxc://a", "mxc://a/", "mxc:///x", "mxc://a/\"onload=x"] {
            assert_eq!(url(none), "", "{none}");
        }
    }
}
