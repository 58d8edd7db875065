//! Tickets: strings that carry their time and content under a MAC, so that nothing is stored for the strangers who get
//! them, and no flood of requests can push out what others were given.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use plexus_base::{Clock, Random};
use sha2::Sha256;

const TIME: usize = 8;
const UNIQUE: usize = 12;
const MAC: usize = 16;

/// Makes and opens the tickets of one purpose. The key lives as long as the process, and so do its tickets.
pub(crate) struct Tickets {
    clock: Clock,
    random: Random,
    key: [u8; 32],
    lifetime: Duration,
}

/// What a ticket says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// Unix ms.
    pub(crate) created_ts: u64,
    pub(crate) content: Vec<u8>,
}

impl Tickets {
    pub(crate) fn new(clock: Clock, random: Random, lifetime: Duration) -> Self {
        let key = random.bytes();
        Self { clock, random, key, lifetime }
    }

    /// A new ticket, unlike any other: letters, digits, `-` and `_`.
    pub(crate) fn issue(&self, content: &[u8]) -> String {
        let unique: [u8; UNIQUE] = self.random.bytes();
        let mut ticket = self.clock.now_ms().to_be_bytes().to_vec();
        ticket.extend_from_slice(&unique);
        ticket.extend_from_slice(content);
        let mac = self.mac(&ticket).finalize().into_bytes();
        ticket.extend_from_slice(&mac[..MAC]);
        URL_SAFE_NO_PAD.encode(ticket)
    }

    /// What the ticket says, if it was issued by this process and is not too old.
    pub(crate) fn open(&self, ticket: &str) -> Option<Ticket> {
        let bytes = URL_SAFE_NO_PAD.decode(ticket).ok()?;
        let (said, mac) = bytes.split_at_checked(bytes.len().checked_sub(MAC)?)?;
        self.mac(said).verify_truncated_left(mac).ok()?;
        let (time, rest) = said.split_first_chunk::<TIME>()?;
        let (_, content) = rest.split_first_chunk::<UNIQUE>()?;
        let created_ts = u64::from_be_bytes(*time);
        let age = Duration::from_millis(self.clock.now_ms().saturating_sub(created_ts));
        (age < self.lifetime).then(|| Ticket { created_ts, content: content.to_vec() })
    }

    fn mac(&self, said: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        mac.update(said);
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_tickets_are_opened_and_only_for_their_time() {
        let clock = Clock::manual(1_000);
        let (random, minute) = (Random::seeded(1), Duration::from_secs(60));
        let tickets = Tickets::new(clock.clone(), random.clone(), minute);
        let ticket = tickets.issue(b"content");
        assert_ne!(ticket, tickets.issue(b"content"));
        let opened = Ticket { created_ts: 1_000, content: b"content".to_vec() };
        assert_eq!(tickets.open(&ticket), Some(opened));
        assert_eq!(Tickets::new(clock.clone(), random, minute).open(&ticket), None);
        let mut forged = URL_SAFE_NO_PAD.decode(&ticket).unwrap();
        forged[TIME - 1] ^= 1;
        for wrong in ["", "AAAA", "\0", &ticket[1..], &URL_SAFE_NO_PAD.encode(forged)] {
            assert_eq!(tickets.open(wrong), None, "{wrong}");
        }
        clock.advance(minute);
        assert_eq!(tickets.open(&ticket), None);
    }
}
