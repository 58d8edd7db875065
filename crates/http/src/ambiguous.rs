//! Requests that a proxy in front may understand differently than this server: request smuggling.
//!
//! hyper refuses most of what RFC 9112 asks to refuse; this module refuses the rest.

use http::header::{HOST, TRANSFER_ENCODING};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Uri, Version};

/// Returns what is ambiguous about a request with this head, for its sender; `None` if nothing is.
pub(crate) fn problem(version: Version, uri: &Uri, headers: &HeaderMap) -> Option<&'static str> {
    let mut hosts = headers.get_all(HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        // RFC 9112, section 3.2.
        return Some("The request has more than one Host header");
    }
    match host {
        None if version == Version::HTTP_11 => return Some("The request has no Host header"),
        None => {}
        Some(host) => {
            if !is_host(host) {
                return Some("The request's Host header is not a host");
            }
            // RFC 9110, section 7.2; RFC 9113, section 8.3.1 (:authority).
            let names = |authority: &Authority| authority.as_str().as_bytes().eq_ignore_ascii_case(host.as_bytes());
            if !uri.authority().is_none_or(names) {
                return Some("The request's Host header is not the host of its target");
            }
        }
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let only_chunked = codings.next().is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    if !only_chunked || codings.next().is_some() {
        // RFC 9112, section 6.1.
        return Some("The request has a Transfer-Encoding other than chunked");
    }
    None
}

/// Whether `value` is a host with or without a port, or nothing (as in RFC 9110, section 7.2, for targets without a
/// host).
fn is_host(value: &HeaderValue) -> bool {
    value.is_empty() || Authority::try_from(value.as_bytes()).is_ok_and(|host| !host.as_str().contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_refused(version: Version, uri: &str, headers: &[(&str, &str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        problem(version, &uri.parse().unwrap(), &map).is_some()
    }

    #[test]
    fn unambiguous_heads_are_accepted() {
        for host in ["a.example", "a.example:8448", "[2001:db8::1]:443", "A.EXAMPLE", ""] {
            assert!(!is_refused(Version::HTTP_11, "/", &[("host", host)]), "{host}");
        }
        assert!(!is_refused(Version::HTTP_10, "/", &[]));
        assert!(!is_refused(Version::HTTP_2, "https://a.example/", &[]));
        assert!(!is_refused(Version::HTTP_2, "https://a.example/", &[("host", "A.example")]));
        assert!(!is_refused(Version::HTTP_11, "http://a.example/", &[("host", "a.example")]));
        assert!(!is_refused(Version::HTTP_11, "/", &[("host", "a"), ("transfer-encoding", "Chunked")]));
    }

    #[test]
    fn ambiguous_heads_are_refused() {
        assert!(is_refused(Version::HTTP_11, "/", &[]));
        for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
            assert!(is_refused(version, "/", &[("host", "a"), ("host", "a")]));
            assert!(is_refused(version, "https://a.example/", &[("host", "b.example")]));
        }
        for host in ["a, b", "a b", "a@b", "a/b", "http://a"] {
            assert!(is_refused(Version::HTTP_11, "/", &[("host", host)]), "{host}");
        }
        for coding in ["gzip, chunked", "chunked, chunked", "identity", ""] {
            assert!(is_refused(Version::HTTP_11, "/", &[("host", "a"), ("transfer-encoding", coding)]), "{coding}");
        }
        let twice = [("host", "a"), ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")];
        assert!(is_refused(Version::HTTP_11, "/", &twice));
    }
}
