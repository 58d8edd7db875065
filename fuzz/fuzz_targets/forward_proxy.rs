//! The address of a forward proxy and the list of exceptions, as the environment may hold them: what is shown of an
//! address reads as the same address and holds no password, and an exception for a host matches that host.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plexus_base::forward_proxy::{NoProxy, ProxyException, ProxyUrl};

/// Not part of any other text.
const PASSWORD: &str = "\u{1f511}password\u{1f511}";

fuzz_target!(|data: (&str, &str, u16)| {
    let (text, host, port) = data;
    if let Ok(url) = ProxyUrl::parse(text) {
        let shown = ProxyUrl::parse(&url.to_string()).expect("what is shown is an address");
        assert_eq!((shown.scheme(), shown.host(), shown.port()), (url.scheme(), url.host(), url.port()));
        assert!(shown.credentials().is_none());
        let exception = ProxyException::parse(url.host()).expect("a host is an exception");
        assert!(NoProxy::from(vec![exception]).matches(url.host(), port));
    }
    let secret = match text.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://user:{PASSWORD}@{rest}"),
        None => format!("user:{PASSWORD}@{text}"),
    };
    match ProxyUrl::parse(&secret) {
        Ok(url) => assert!(!format!("{url} {url:?}").contains(PASSWORD)),
        Err(error) => assert!(!error.to_string().contains(PASSWORD)),
    }
    if let Ok(exceptions) = ProxyException::parse_list(text) {
        NoProxy::from(exceptions).matches(host, port);
    }
});
