//! Ranges of IP addresses, and the IPv4 addresses in an IPv6 address.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Reader, Value};
use crate::yaml::Node;

/// A range of IP addresses, written as `10.0.0.0/8`, or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IpRange {
    network: IpAddr,
    prefix: u8,
}

impl IpRange {
    /// Parses `address` or `address/prefix length`; bits after the prefix are ignored. A range of IPv4-mapped addresses
    /// (`::ffff:10.0.0.0/104`) becomes the range of the IPv4 addresses.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u8>().ok()?)),
            None => (text, None),
        };
        let network: IpAddr = address.trim().parse().ok()?;
        let most = if network.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(most);
        if prefix > most {
            return None;
        }
        match (network, prefix.checked_sub(96)) {
            (IpAddr::V6(mapped), Some(prefix)) if mapped.to_ipv4_mapped().is_some() => {
                Some(Self { network: mapped.to_canonical(), prefix })
            }
            _ => Some(Self { network, prefix }),
        }
    }

    /// Whether `address` itself is in the range. For the destination of a connection see [`every_address`].
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let differing = u32::from(network) ^ u32::from(address);
                differing.leading_zeros() >= u32::from(self.prefix)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let differing = u128::from(network) ^ u128::from(address);
                differing.leading_zeros() >= u32::from(self.prefix)
            }
            _ => false,
        }
    }
}

/// Returns `address` and every IPv4 address that a packet to it may be translated or tunnelled to. All of them must be
/// checked to permit or forbid a connection.
pub fn every_address(address: IpAddr) -> Vec<IpAddr> {
    let mut all = vec![address];
    if let IpAddr::V6(v6) = address {
        all.extend(embedded(v6).into_iter().map(IpAddr::V4));
    }
    all
}

/// Returns the IPv4 addresses inside `address`.
fn embedded(address: Ipv6Addr) -> Vec<Ipv4Addr> {
    let bits = u128::from(address);
    // The 32 bits after the first `start`.
    let after = |start: u32| v4(bits << start);
    let mut found = match address.segments() {
        // The unspecified and the loopback address are not IPv4-compatible addresses (RFC 4291, section 2.5).
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => Vec::new(),
        // IPv4-compatible and IPv4-mapped (RFC 4291, section 2.5.5), IPv4-translated (RFC 2765, section 2.1), and
        // the well-known prefix of NAT64 (RFC 6052, section 2.1).
        [0, 0, 0, 0, 0, 0 | 0xffff, _, _] | [0, 0, 0, 0, 0xffff, 0, _, _] | [0x64, 0xff9b, 0, 0, 0, 0, _, _] => {
            vec![after(96)]
        }
        [0x64, 0xff9b, 1, ..] => behind_a_local_nat64(bits),
        // Teredo: the server, and the client with its bits inverted (RFC 4380, section 4).
        [0x2001, 0, ..] => vec![after(32), v4(!bits << 96)],
        // 6to4 (RFC 3056, section 2).
        [0x2002, ..] => vec![after(16)],
        _ => Vec::new(),
    };
    // ISATAP, under any prefix (RFC 5214, section 6.1).
    if let [.., 0 | 0x200, 0x5efe, _, _] = address.segments() {
        found.push(after(96));
    }
    found
}

/// Returns the first 32 bits.
fn v4(bits: u128) -> Ipv4Addr {
    let [a, b, c, d, ..] = bits.to_be_bytes();
    Ipv4Addr::new(a, b, c, d)
}

/// Returns the IPv4 addresses inside an address of 64:ff9b:1::/48 (RFC 8215), one for each possible length of the
/// translator's prefix (RFC 6052, section 2.2). The address does not say which length it has; the bits after the IPv4
/// address have no meaning.
fn behind_a_local_nat64(bits: u128) -> Vec<Ipv4Addr> {
    // Bits 64 to 71 do not belong to the IPv4 address.
    let without_u = (bits >> 64 << 64) | (bits << 72 >> 64);
    let candidates = [48, 56, 64].map(|length| v4(without_u << length));
    // Read with too short a prefix, every address of a longer one is in 0.0.0.0/8, to which no packet is ever sent.
    let mut found: Vec<_> = candidates.into_iter().filter(|address| address.octets()[0] != 0).collect();
    found.push(v4(bits << 96));
    found
}

impl fmt::Display for IpRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

impl Value for IpRange {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let range = node.as_text().and_then(Self::parse);
        range.or_else(|| reader.wrong(node, &format!("an {}", Self::kind())))
    }

    fn kind() -> String {
        "IP address or range such as 10.0.0.0/8".to_owned()
    }

    fn show(&self) -> Option<String> {
        Some(format!("\"{self}\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_stands_for_what_is_embedded_in_it() {
        for (address, embedded) in [
            ("10.0.0.1", &[][..]),
            ("::", &[]),
            ("::1", &[]),
            ("2a00::10.0.0.1", &[]),
            ("fe80::1", &[]),
            ("::10.0.0.1", &["10.0.0.1"]),
            ("::ffff:10.0.0.1", &["10.0.0.1"]),
            ("::ffff:0:10.0.0.1", &["10.0.0.1"]),
            ("64:ff9b::10.0.0.1", &["10.0.0.1"]),
            // Neither of the two prefixes of NAT64.
            ("64:ff9b::1:10.0.0.1", &[]),
            ("64:ff9b:2::10.0.0.1", &[]),
            // The examples of RFC 6052, section 2.4, below the prefix of RFC 8215.
            ("64:ff9b:1:c000:2:2100::", &["192.0.2.33", "2.33.0.0", "0.0.0.0"]),
            ("64:ff9b:1:1c0:0:221::", &["1.192.0.2", "192.0.2.33", "0.0.0.0"]),
            ("64:ff9b:1:0:c0:2:2100:0", &["192.0.2.33", "33.0.0.0"]),
            ("64:ff9b:1::192.0.2.33", &["192.0.2.33"]),
            // Bits behind the address do not hide it.
            ("64:ff9b:1:c000:2:21ff:ffff:ffff", &["192.0.2.33", "2.33.255.255", "255.255.255.255"]),
            ("2001:0:808:404:8000:63bf:f5ff:fffe", &["8.8.4.4", "10.0.0.1"]),
            ("2001:1::1", &[]),
            ("2002:a00:1::1", &["10.0.0.1"]),
            ("2002:808:808::5efe:10.0.0.1", &["8.8.8.8", "10.0.0.1"]),
            ("2a00::5efe:10.0.0.1", &["10.0.0.1"]),
            ("fe80::200:5efe:10.0.0.1", &["10.0.0.1"]),
        ] {
            let all: Vec<IpAddr> = [address].iter().chain(embedded).map(|text| ip(text)).collect();
            assert_eq!(every_address(ip(address)), all, "{address}");
        }
    }

    #[test]
    fn a_range_holds_its_own_addresses() {
        let range = IpRange::parse("10.0.0.0/8").unwrap();
        for (address, expected) in [("10.1.2.3", true), ("11.0.0.0", false), ("::10.1.2.3", false), ("fe80::1", false)]
        {
            assert_eq!(range.contains(ip(address)), expected, "{address}");
        }
        assert!(IpRange::parse("::/0").unwrap().contains(ip("fe80::1")));
        assert!(IpRange::parse("10.0.0.0/40").is_none() && IpRange::parse("x").is_none());
    }

    #[test]
    fn a_range_of_mapped_addresses_is_one_of_ipv4_addresses() {
        assert_eq!(IpRange::parse("::ffff:10.0.0.0/104"), IpRange::parse("10.0.0.0/8"));
        assert_eq!(IpRange::parse("::ffff:10.0.0.1"), IpRange::parse("10.0.0.1"));
        assert!(IpRange::parse("::/8").unwrap().contains(ip("::ffff:10.0.0.1")));
    }
}
