//! Verifying many ed25519 signatures in one equation.
//!
//! With random `z`, the sum of `z(sB - R - kA)` over all signatures is zero if each is valid, and almost surely not
//! zero if one is not. Terms of the same key are added before the point multiplication: most events of a room come from
//! few servers. Unlike common batch verifiers this one agrees with verifying each signature by libsodium's rules, on
//! which servers must agree: points with a component of small order, which cancel in the equation with some
//! probability, are excluded by a separate check.

use std::collections::HashMap;

use curve25519_dalek::{
    EdwardsPoint, Scalar,
    constants::ED25519_BASEPOINT_POINT,
    edwards::CompressedEdwardsY,
    traits::{Identity, IsIdentity, VartimeMultiscalarMul},
};
use sha2::{Digest, Sha512};

use super::PublicKey;

/// One signature to check.
pub(super) struct Item<'a> {
    pub message: &'a [u8],
    pub signature: [u8; 64],
    pub key: PublicKey,
}

/// The smallest batch for which the fixed costs, mostly [`TORSION_ROUNDS`], are worth it (measured:
/// docs/benchmarks.md).
const MIN_BATCH: usize = 35;
const MAX_BATCH: usize = 4096;
/// A failed batch is split into parts of this size, so that a few bad signatures do not make the rest expensive.
const SPLIT_SIZE: usize = 128;
/// Each round misses a point with a component of small order with a probability of at most one half.
const TORSION_ROUNDS: usize = 32;

/// Returns for each signature whether it is valid. `entropy` must be unpredictable to the signers.
pub(super) fn verify(items: &[Item<'_>], entropy: [u8; 32]) -> Vec<bool> {
    let mut valid = Vec::with_capacity(items.len());
    for chunk in items.chunks(MAX_BATCH) {
        if chunk.len() >= MIN_BATCH && all_valid(chunk, entropy) {
            valid.resize(valid.len() + chunk.len(), true);
        } else {
            verify_parts(chunk, entropy, &mut valid);
        }
    }
    valid
}

fn verify_parts(items: &[Item<'_>], entropy: [u8; 32], valid: &mut Vec<bool>) {
    for part in items.chunks(SPLIT_SIZE) {
        if part.len() < items.len() && part.len() >= MIN_BATCH && all_valid(part, entropy) {
            valid.resize(valid.len() + part.len(), true);
        } else {
            valid.extend(part.iter().map(|item| item.key.verify_bytes(item.message, &item.signature)));
        }
    }
}

/// Whether all signatures are valid; may return `false` for unusual but valid signatures.
fn all_valid(items: &[Item<'_>], entropy: [u8; 32]) -> bool {
    let mut random = Stream::new(entropy, items.len());
    let mut base = Scalar::ZERO;
    let mut keys: HashMap<[u8; 32], (Scalar, EdwardsPoint)> = HashMap::new();
    let mut scalars = Vec::with_capacity(items.len() + 8);
    let mut points = Vec::with_capacity(items.len() + 8);
    for item in items {
        let Some((r, s, k)) = decode(item) else { return false };
        let z = Scalar::from(random.next_u128());
        base -= z * s;
        let key = item.key.verifying_key();
        let entry = keys.entry(key.to_bytes()).or_insert_with(|| (Scalar::ZERO, key.to_edwards()));
        entry.0 += z * k;
        scalars.push(z);
        points.push(r);
    }
    if !torsion_free(&points, &mut random) {
        return false;
    }
    scalars.push(base);
    points.push(ED25519_BASEPOINT_POINT);
    for (scalar, point) in keys.into_values() {
        scalars.push(scalar);
        points.push(point);
    }
    EdwardsPoint::vartime_multiscalar_mul(&scalars, &points).is_identity()
}

/// Returns `R`, `s` and `k` of a signature, if they are encoded as single verification requires.
fn decode(item: &Item<'_>) -> Option<(EdwardsPoint, Scalar, Scalar)> {
    let (r, s) = item.signature.split_first_chunk::<32>()?;
    let s = Option::<Scalar>::from(Scalar::from_canonical_bytes(s.try_into().ok()?))?;
    let point = CompressedEdwardsY(*r).decompress()?;
    if !item.key.batchable || !is_canonical(r) || point.is_small_order() {
        return None;
    }
    let mut hash = Sha512::new();
    hash.update(r);
    hash.update(item.key.verifying_key().as_bytes());
    hash.update(item.message);
    Some((point, s, Scalar::from_bytes_mod_order_wide(&hash.finalize().into())))
}

/// Whether the y coordinate is below 2^255 - 19.
fn is_canonical(point: &[u8; 32]) -> bool {
    let [low, middle @ .., high] = point;
    !(*low >= 0xed && middle.iter().all(|b| *b == 0xff) && high & 0x7f == 0x7f)
}

/// Whether all points are in the group of prime order, by random subset sums. The sums of each subset of four points
/// are computed once; each round then adds one of these sums per block.
fn torsion_free(points: &[EdwardsPoint], random: &mut Stream) -> bool {
    let mut rounds = [EdwardsPoint::identity(); TORSION_ROUNDS];
    for block in points.chunks(4) {
        let mut sums = [EdwardsPoint::identity(); 16];
        for (i, point) in block.iter().enumerate() {
            let (known, rest) = sums.split_at_mut(1 << i);
            for (sum, without) in rest.iter_mut().zip(known) {
                *sum = *without + point;
            }
        }
        let mut choices = random.next_u128();
        for round in &mut rounds {
            if let Some(sum) = sums.get((choices & 15) as usize) {
                *round += sum;
            }
            choices >>= 4;
        }
    }
    // The group order minus one times the point is the point's negation. `is_torsion_free` computes the same in
    // constant time, which takes longer.
    rounds.iter().all(|round| EdwardsPoint::vartime_multiscalar_mul([-Scalar::ONE], [round]) == -round)
}

/// Pseudorandom numbers from a seed: SHA-512 in counter mode.
struct Stream {
    seed: [u8; 32],
    counter: u64,
    block: [u8; 64],
    used: usize,
}

impl Stream {
    fn new(mut seed: [u8; 32], batch_size: usize) -> Self {
        for (byte, size) in seed.iter_mut().zip(batch_size.to_le_bytes()) {
            *byte ^= size;
        }
        Self { seed, counter: 0, block: [0; 64], used: 64 }
    }

    fn next_u128(&mut self) -> u128 {
        if self.used == self.block.len() {
            let mut hash = Sha512::new();
            hash.update(self.seed);
            hash.update(self.counter.to_le_bytes());
            self.block = hash.finalize().into();
            self.counter += 1;
            self.used = 0;
        }
        let number = self.block.get(self.used..).and_then(|rest| rest.first_chunk::<16>());
        self.used += 16;
        number.map_or(0, |bytes| u128::from_le_bytes(*bytes))
    }
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::constants::EIGHT_TORSION;

    use super::*;

    fn points(count: u64) -> Vec<EdwardsPoint> {
        (1..=count).map(|n| EdwardsPoint::mul_base(&Scalar::from(n))).collect()
    }

    #[test]
    fn a_component_of_small_order_is_found_wherever_it_is() {
        for seed in 0..4 {
            assert!(torsion_free(&points(9), &mut Stream::new([seed; 32], 9)));
            for at in 0..9 {
                for torsion in EIGHT_TORSION.into_iter().skip(1) {
                    let mut points = points(9);
                    points[at] += torsion;
                    assert!(!torsion_free(&points, &mut Stream::new([seed; 32], 9)), "{seed} {at}");
                }
            }
        }
    }

    #[test]
    fn a_batch_of_valid_signatures_needs_no_single_checks() {
        use crate::event::sign::SigningKey;
        let key = SigningKey::generate(&[6; 32], "k");
        let message = b"m";
        let signature = super::super::public_key::decode_signature(&key.sign(message)).unwrap();
        let items: Vec<_> = (0..3).map(|_| Item { message, signature, key: key.public_key() }).collect();
        assert!(all_valid(&items, [1; 32]));
        let other = SigningKey::generate(&[7; 32], "k").public_key();
        assert!(!all_valid(&[Item { message, signature, key: other }], [1; 32]));
    }

    #[test]
    fn coordinates_below_the_prime_are_canonical() {
        let mut point = [0xff; 32];
        for (low, high, expected) in
            [(0xec, 0x7f, true), (0xed, 0x7f, false), (0xff, 0xff, false), (0xec, 0xff, true), (0xff, 0x7e, true)]
        {
            (point[0], point[31]) = (low, high);
            assert_eq!(is_canonical(&point), expected, "{low:x} {high:x}");
        }
        (point[0], point[7], point[31]) = (0xff, 0xfe, 0x7f);
        assert!(is_canonical(&point));
    }
}
