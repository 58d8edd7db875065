//! Randomness as an argument: the operating system's, or a repeatable sequence for tests.

use parking_lot::Mutex;
use std::sync::Arc;

const ALPHANUMERIC: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// A source of random values. Clones share it.
#[derive(Clone, Debug)]
pub struct Random(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Seeded(Arc<Mutex<u64>>),
}

impl Random {
    /// Returns the operating system's cryptographic source.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// Returns a repeatable sequence, for tests only: it is predictable.
    pub fn seeded(seed: u64) -> Self {
        Self(Source::Seeded(Arc::new(Mutex::new(seed))))
    }

    /// Returns `N` random bytes.
    ///
    /// # Panics
    /// When the operating system provides no randomness: no secret could be created safely.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    /// Returns `len` random letters and digits; each has 5.95 bits.
    pub fn alphanumeric(&self, len: usize) -> String {
        let mut text = String::with_capacity(len);
        let mut block = [0; 64];
        while text.len() < len {
            self.fill(&mut block);
            // 248 = 4 * 62: greater bytes are discarded, so that all characters are equally likely.
            let letters = block.iter().filter(|byte| **byte < 248);
            let letters = letters.map(|byte| char::from(ALPHANUMERIC[usize::from(byte % 62)]));
            text.extend(letters.take(len - text.len()));
        }
        text
    }

    /// Returns a number in `0..n`, each equally likely; 0 when `n` is 0.
    pub fn below(&self, n: u64) -> u64 {
        if n == 0 {
            return 0;
        }
        // The last, incomplete run of `n` values is discarded.
        let unfair = (u64::MAX % n + 1) % n;
        loop {
            let value = u64::from_le_bytes(self.bytes());
            if value <= u64::MAX - unfair {
                return value % n;
            }
        }
    }

    #[expect(clippy::expect_used, reason = "no server can go on without randomness")]
    fn fill(&self, target: &mut [u8]) {
        match &self.0 {
            Source::System => {
                getrandom::fill(target).expect("the operating system must give randomness: secrets depend on it");
            }
            Source::Seeded(state) => {
                let mut state = state.lock();
                for chunk in target.chunks_mut(8) {
                    let value = split_mix(&mut state).to_le_bytes();
                    chunk.copy_from_slice(&value[..chunk.len()]);
                }
            }
        }
    }
}

/// The `SplitMix64` generator of Steele, Lea and Flood.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_sequence() {
        let (a, b) = (Random::seeded(7), Random::seeded(7));
        assert_eq!(a.bytes::<20>(), b.bytes::<20>());
        assert_eq!(a.alphanumeric(40), b.alphanumeric(40));
        assert_ne!(a.bytes::<20>(), a.bytes::<20>());
    }

    #[test]
    fn alphanumeric_has_the_asked_length_and_letters() {
        for random in [Random::system(), Random::seeded(1)] {
            for len in [0, 1, 63, 64, 300] {
                let text = random.alphanumeric(len);
                assert_eq!(text.len(), len);
                assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            }
        }
    }

    #[test]
    fn below_stays_below_and_reaches_everything() {
        let random = Random::seeded(3);
        let mut seen = [false; 7];
        for _ in 0..500 {
            seen[usize::try_from(random.below(7)).expect("small")] = true;
        }
        assert_eq!(seen, [true; 7]);
        assert_eq!(random.below(0), 0);
        assert_eq!(random.below(1), 0);
        assert!(random.below(u64::MAX) < u64::MAX);
    }
}
