//! How the JSON of events lies in the database: zstd with a dictionary of what events have in common.
//!
//! The first byte names the dictionary, so that a better one can be added; every dictionary ever used stays.
//! 0 is no compression at all.

use std::cell::RefCell;
use std::sync::LazyLock;

use zstd::bulk::{Compressor, Decompressor};
use zstd::dict::{DecoderDictionary, EncoderDictionary};

use crate::varint;

const PLAIN: u8 = 0;
const FIRST: u8 = 1;
const LEVEL: i32 = 3;
/// No event is larger (64 KiB), whatever the stored length claims.
const MAX_BYTES: u64 = 1 << 20;

static DICTIONARY: &[u8] = include_bytes!("pdu_json/dictionary_1.bin");
static ENCODER: LazyLock<EncoderDictionary<'static>> = LazyLock::new(|| EncoderDictionary::copy(DICTIONARY, LEVEL));
static DECODER: LazyLock<DecoderDictionary<'static>> = LazyLock::new(|| DecoderDictionary::copy(DICTIONARY));

thread_local! {
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> =
        RefCell::new(Compressor::with_prepared_dictionary(&ENCODER).ok());
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> =
        RefCell::new(Decompressor::with_prepared_dictionary(&DECODER).ok());
}

/// Packs an event's JSON.
#[must_use]
pub fn pack(json: &str) -> Vec<u8> {
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
    out
}

/// What is wrong with a stored event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnpackError {
    /// The column is empty or cut short.
    #[error("the packed event is cut short")]
    Short,
    /// Written by a later program.
    #[error("unknown dictionary {0}")]
    Dictionary(u8),
    /// zstd refuses it.
    #[error("the packed event does not unpack: {0}")]
    Zstd(String),
    /// The bytes are no text.
    #[error("the event is not UTF-8")]
    Utf8,
}

/// Unpacks what [`pack`] packed.
pub fn unpack(bytes: &[u8]) -> Result<String, UnpackError> {
    let (&dictionary, mut rest) = bytes.split_first().ok_or(UnpackError::Short)?;
    let json = match dictionary {
        PLAIN => rest.to_vec(),
        FIRST => {
            let length = varint::take(&mut rest).ok_or(UnpackError::Short)?.min(MAX_BYTES);
            DECOMPRESSOR.with_borrow_mut(|decompressor| {
                let decompressor = decompressor.as_mut().ok_or_else(|| UnpackError::Zstd("no memory".to_owned()))?;
                decompressor
                    .decompress(rest, usize::try_from(length).unwrap_or(0))
                    .map_err(|error| UnpackError::Zstd(error.to_string()))
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
        let packed = pack(json);
        assert!(packed.len() * 2 < json.len(), "{} of {}", packed.len(), json.len());
        assert_eq!(unpack(&packed).as_deref(), Ok(json));
    }

    #[test]
    fn what_does_not_shrink_is_stored_plain() {
        assert_eq!(pack("x"), b"\0x");
        assert_eq!(unpack(b"\0x").as_deref(), Ok("x"));
    }

    #[test]
    fn damage_is_an_error() {
        assert_eq!(unpack(b""), Err(UnpackError::Short));
        assert_eq!(unpack(b"\x09abc"), Err(UnpackError::Dictionary(9)));
        assert!(matches!(unpack(b"\x01\x05abc"), Err(UnpackError::Zstd(_))));
    }
}
