//! Tickets: sealed strings that carry their time and content, so that nothing is stored for the strangers who get them,
//! and no flood of requests can push out the tickets of others.

use std::time::Duration;

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use plexus_base::{Clock, Random};

const TIME: usize = 8;
/// Contents are padded to a multiple of this many bytes: the length of a ticket does not tell that of a password.
const BLOCK: usize = 64;
/// Ends the content; zeros follow it.
const END: u8 = 0x80;

/// What a ticket is for. It cannot be opened for another purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The id of a registration's session.
    Registration,
    /// The parameters of a stored session.
    StoredParameters,
    /// The nonce of a registration by shared secret.
    SharedSecretNonce,
}

impl Purpose {
    fn aad(self) -> Aad<&'static [u8]> {
        Aad::from(match self {
            Self::Registration => b"registration".as_slice(),
            Self::StoredParameters => b"stored parameters".as_slice(),
            Self::SharedSecretNonce => b"shared secret nonce".as_slice(),
        })
    }
}

/// Makes and opens tickets. The key lives as long as the process, and so do its tickets.
pub(crate) struct Tickets {
    clock: Clock,
    random: Random,
    key: LessSafeKey,
    lifetime: Duration,
}

/// The content of a ticket that was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// Unix ms.
    pub(crate) created_ts: u64,
    pub(crate) content: Vec<u8>,
}

impl Tickets {
    #[expect(clippy::expect_used, reason = "the length of the key is part of its type")]
    pub(crate) fn new(clock: Clock, random: Random, lifetime: Duration) -> Self {
        let key: [u8; 32] = random.bytes();
        let key = UnboundKey::new(&CHACHA20_POLY1305, &key).expect("a key of ChaCha20-Poly1305 has 32 bytes");
        Self { clock, random, key: LessSafeKey::new(key), lifetime }
    }

    /// Issues a ticket, unlike any other: letters, digits, `-` and `_`. Nobody else can read `content` from it.
    #[expect(clippy::expect_used, reason = "a ticket is far shorter than what cannot be sealed")]
    pub(crate) fn issue(&self, purpose: Purpose, content: &[u8]) -> String {
        let nonce: [u8; NONCE_LEN] = self.random.bytes();
        let mut sealed = self.clock.now_ms().to_be_bytes().to_vec();
        sealed.extend_from_slice(content);
        sealed.push(END);
        sealed.resize(sealed.len().next_multiple_of(BLOCK), 0);
        let nonce_of_key = Nonce::assume_unique_for_key(nonce);
        let done = self.key.seal_in_place_append_tag(nonce_of_key, purpose.aad(), &mut sealed);
        done.expect("sealing fails only for gigabytes");
        let mut ticket = nonce.to_vec();
        ticket.append(&mut sealed);
        URL_SAFE_NO_PAD.encode(ticket)
    }

    /// Opens a ticket, if it was issued by this process for this purpose and has not expired.
    pub(crate) fn open(&self, purpose: Purpose, ticket: &str) -> Option<Ticket> {
        let mut bytes = URL_SAFE_NO_PAD.decode(ticket).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk_mut::<NONCE_LEN>()?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.key.open_in_place(nonce, purpose.aad(), sealed).ok()?;
        let (time, padded) = opened.split_first_chunk::<TIME>()?;
        let end = padded.iter().rposition(|byte| *byte == END)?;
        let created_ts = u64::from_be_bytes(*time);
        let age = Duration::from_millis(self.clock.now_ms().saturating_sub(created_ts));
        (age < self.lifetime).then(|| Ticket { created_ts, content: padded[..end].to_vec() })
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
        let purpose = Purpose::Registration;
        let ticket = tickets.issue(purpose, b"content");
        assert_ne!(ticket, tickets.issue(purpose, b"content"));
        let opened = Ticket { created_ts: 1_000, content: b"content".to_vec() };
        assert_eq!(ticket.len(), tickets.issue(purpose, b"some other content").len());
        assert_eq!(tickets.open(purpose, &ticket), Some(opened));
        assert_eq!(tickets.open(Purpose::StoredParameters, &ticket), None);
        assert_eq!(Tickets::new(clock.clone(), random, minute).open(purpose, &ticket), None);
        let mut forged = URL_SAFE_NO_PAD.decode(&ticket).unwrap();
        forged[NONCE_LEN] ^= 1;
        for wrong in ["", "AAAA", "\0", &ticket[1..], &URL_SAFE_NO_PAD.encode(forged)] {
            assert_eq!(tickets.open(purpose, wrong), None, "{wrong}");
        }
        clock.advance(minute);
        assert_eq!(tickets.open(purpose, &ticket), None);
    }
}
