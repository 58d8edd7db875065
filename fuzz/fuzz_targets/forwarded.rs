//! The headers by which a reverse proxy says whose request it passes on. Without `x_forwarded` they change nothing.
//! With it the client is the first address of `X-Forwarded-For`, or else the proxy itself, in one form for each
//! address, and each address is read back from its own text. The id of a request is one short word.
#![no_main]

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use plexus_http::Peer;

const PROXY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

fuzz_target!(|data: (Vec<&[u8]>, &[u8])| {
    let (forwarded_for, id) = data;
    let mut headers = HeaderMap::new();
    for value in forwarded_for.into_iter().filter_map(|value| HeaderValue::from_bytes(value).ok()) {
        headers.append("x-forwarded-for", value);
    }
    headers.extend(HeaderValue::from_bytes(id).ok().map(|id| (HeaderName::from_static("x-request-id"), id)));
    let peer = |x_forwarded| Peer {
        address: Some(PROXY),
        tls: false,
        x_forwarded,
        request_id_header: Some(HeaderName::from_static("x-request-id")),
        site: "fuzz".into(),
    };
    assert_eq!(peer(false).client_ip(&headers), Some(PROXY));
    let client = peer(true).client_ip(&headers).expect("there is always somebody");
    assert_eq!(client, client.to_canonical());
    let first = headers.get("x-forwarded-for").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let first = first.split(',').next().unwrap_or_default().trim();
    match first.parse::<IpAddr>() {
        Ok(address) => assert_eq!(client, address.to_canonical()),
        // With a port, in brackets, or nothing that is an address.
        Err(_) => assert!(client == PROXY || first.contains([':', '[']), "{first:?} is {client}"),
    }
    for text in [client.to_string(), std::net::SocketAddr::new(client, 4711).to_string()] {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", text.parse().expect("it is ASCII"));
        assert_eq!(peer(true).client_ip(&headers), Some(client), "{text}");
    }
    if let Some(id) = peer(true).request_id(&headers) {
        assert!(!id.is_empty() && id.len() <= 128 && !id.contains(char::is_whitespace));
    }
});
