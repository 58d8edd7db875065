//! Server names: `hostname [":" port]` ([Server Name](https://spec.matrix.org/v1.19/appendices/#server-name)).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::IdError;

/// The host of a server name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host<'a> {
    /// A DNS name, as written.
    Name(&'a str),
    /// An IPv4 address, or an IPv6 address without its brackets.
    Address(IpAddr),
}

impl<'a> Host<'a> {
    pub(super) fn of(host: &'a str) -> Self {
        if let Some(inner) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'))
            && let Ok(address) = inner.parse::<Ipv6Addr>()
        {
            return Host::Address(address.into());
        }
        match host.parse::<Ipv4Addr>() {
            Ok(address) => Host::Address(address.into()),
            Err(_) => Host::Name(host),
        }
    }
}

/// Splits a server name into host and port text without checking either.
pub fn split_host_port(name: &str) -> (&str, Option<&str>) {
    // The colons of an IPv6 address are between brackets.
    let after_brackets = name.find(']').map_or(0, |i| i + 1);
    match name.get(after_brackets..).and_then(|rest| rest.rfind(':')) {
        Some(colon) => {
            let (host, port) = name.split_at(after_brackets + colon);
            (host, port.get(1..))
        }
        None => (name, None),
    }
}

pub(super) fn check(name: &str) -> Result<(), IdError> {
    if name.is_empty() {
        return Err(IdError::Empty);
    }
    if name.len() > super::MAX_LENGTH {
        return Err(IdError::TooLong);
    }
    let (host, port) = split_host_port(name);
    if let Some(port) = port {
        let digits = (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit());
        if !digits || port.parse::<u16>().is_err() {
            return Err(IdError::InvalidServerName);
        }
    }
    let valid = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|inner| inner.parse::<Ipv6Addr>().is_ok()),
        None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.'),
    };
    if valid { Ok(()) } else { Err(IdError::InvalidServerName) }
}
