//! The stored form of events: zstd with a dictionary of text that events have in common.
//!
//! The first byte names the dictionary, so that a better one can be added; every dictionary ever used stays. 0 is no
//! compression.

use std::cell::RefCell;
use std::sync::LazyLock;

use zstd::bulk::{Compressor, Decompressor};
use zstd::dict::{DecoderDictionary, EncoderDictionary};

use crate::varint;

const PLAIN: u8 = 0;
const FIRST: u8 = 1;
const LEVEL: i32 = 3;
/// The largest stored JSON of an event, in bytes: an event has 64 KiB at most, and the stripped state in the `unsigned`
/// of an invite or knock is bounded far below the rest.
pub const MAX_JSON_BYTES: usize = 1 << 20;

static DICTIONARY: &[u8] = include_bytes!("pdu_json/dictionary_1.bin");
static ENCODER: LazyLock<EncoderDictionary<'static>> = LazyLock::new(|| EncoderDictionary::copy(DICTIONARY, LEVEL));
static DECODER: LazyLock<DecoderDictionary<'static>> = LazyLock::new(|| DecoderDictionary::copy(DICTIONARY));

thread_local! {
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> =
        RefCell::new(Compressor::with_prepared_dictionary(&ENCODER).ok());
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> =
        RefCell::new(Decompressor::with_prepared_dictionary(&DECODER).ok());
}

/// An event that is too large to be stored: [`unpack`] would refuse it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the JSON of an event has {0} bytes, more than {MAX_JSON_BYTES}")]
pub struct TooLarge(pub usize);

/// Packs an event's JSON.
///
/// # Errors
/// When it has more than [`MAX_JSON_BYTES`].
pub fn pack(json: &str) -> Result<Vec<u8>, TooLarge> {
    if json.len() > MAX_JSON_BYTES {
        return Err(TooLarge(json.len()));
    }
    let packed = COMPRESSOR.with_borrow_mut(|compressor| compressor.as_mut()?.compress(json.as_bytes()).ok());
    let mut out = Vec::with_capacity(packed.as_ref().map_or(json.len(), Vec::len) + 4);
    match packed {
        Some(packed) if packed.len() < json.len() => {
            out.push(FIRST);
            varint::push(&mut out, json.len() as u64);
            out.extend_from_slice(&packed);
        }
        _ => {
            out.push(PLAIN);
            out.extend_from_slice(json.as_bytes());
        }
    }
    Ok(out)
}

/// Why a stored event cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnpackError {
    /// The column is empty or truncated.
    #[error("the packed event is cut short")]
    Short,
    /// The dictionary of a newer program.
    #[error("unknown dictionary {0}")]
    Dictionary(u8),
    /// More than [`MAX_JSON_BYTES`].
    #[error("the event has {0} bytes")]
    TooLarge(u64),
    /// zstd refuses it.
    #[error("the packed event does not unpack: {0}")]
    Zstd(String),
    /// The bytes are not text.
    #[error("the event is not UTF-8")]
    Utf8,
}

/// Returns the JSON that [`pack`] packed.
///
/// # Errors
/// When the bytes are damaged or too large.
pub fn unpack(bytes: &[u8]) -> Result<String, UnpackError> {
    let (&dictionary, mut rest) = bytes.split_first().ok_or(UnpackError::Short)?;
    let json = match dictionary {
        PLAIN if rest.len() > MAX_JSON_BYTES => return Err(UnpackError::TooLarge(rest.len() as u64)),
        PLAIN => rest.to_vec(),
        FIRST => {
            let length = varint::take(&mut rest).ok_or(UnpackError::Short)?;
            let fits = usize::try_from(length).ok().filter(|length| *length <= MAX_JSON_BYTES);
            let length = fits.ok_or(UnpackError::TooLarge(length))?;
            DECOMPRESSOR.with_borrow_mut(|decompressor| {
                let decompressor = decompressor.as_mut().ok_or_else(|| UnpackError::Zstd("no memory".to_owned()))?;
                decompressor.decompress(rest, length).map_err(|error| UnpackError::Zstd(error.to_string()))
            })?
        }
        other => return Err(UnpackError::Dictionary(other)),
    };
    String::from_utf8(json).map_err(|_| UnpackError::Utf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_back_smaller() {
        let json = r#"{"auth_events":["$a"],"content":{"body":"hello","msgtype":"m.text"},"depth":7,"hashes":{"sha256":"abc"},"origin_server_ts":1700000000000,"prev_events":["$b"],"room_id":"!r","sender":"@a:localhost","signatures":{"localhost":{"ed25519:a_1":"sig"}},"type":"m.room.message"}"#;
        let packed = pack(json).unwrap();
        assert!(packed.len() * 2 < json.len(), "{} of {}", packed.len(), json.len());
        assert_eq!(unpack(&packed).as_deref(), Ok(json));
    }

    #[test]
    fn what_does_not_shrink_is_stored_plain() {
        assert_eq!(pack("x").as_deref(), Ok(&b"\0x"[..]));
        assert_eq!(unpack(b"\0x").as_deref(), Ok("x"));
    }

    #[test]
    fn what_is_written_can_be_read() {
        // Text that compression shrinks, and text that it does not.
        let mut state = 1_u64;
        let mut noise = |length: usize| -> String {
            let letters = std::iter::repeat_with(|| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                char::from(b' ' + (state >> 33) as u8 % 95)
            });
            letters.take(length).collect()
        };
        for length in [0, 1, 65_536, MAX_JSON_BYTES - 1, MAX_JSON_BYTES, MAX_JSON_BYTES + 1, 3 * MAX_JSON_BYTES] {
            for json in ["x".repeat(length), noise(length)] {
                match pack(&json) {
                    Ok(packed) => assert!(unpack(&packed).as_deref() == Ok(json.as_str()), "{length}"),
                    Err(error) => assert!(error == TooLarge(length) && length > MAX_JSON_BYTES),
                }
                assert_eq!(pack(&json).is_ok(), length <= MAX_JSON_BYTES);
            }
        }
    }

    #[test]
    fn damage_is_an_error() {
        assert_eq!(unpack(b""), Err(UnpackError::Short));
        assert_eq!(unpack(b"\x09abc"), Err(UnpackError::Dictionary(9)));
        assert!(matches!(unpack(b"\x01\x05abc"), Err(UnpackError::Zstd(_))));
        assert!(matches!(unpack(b"\x01\xff\xff\xff\xff\x7fabc"), Err(UnpackError::TooLarge(_))));
        assert!(matches!(unpack(&[0; MAX_JSON_BYTES + 2]), Err(UnpackError::TooLarge(_))));
    }
}
