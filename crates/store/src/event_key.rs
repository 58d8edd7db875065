//! The stored form of event ids: the 32 bytes of the reference hash if the id is one (room versions 3 and later),
//! otherwise the text.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use plexus_protocol::id::{EventId, IdError};
use plexus_protocol::rules::{EventIdFormat, RoomVersion};

/// Returns the stored form of an id. Ids of room version 3 and of later versions with the same hash have the same form,
/// so after a lookup the id found must be compared with the requested one.
#[must_use]
pub fn encode(id: &EventId) -> Vec<u8> {
    let text = id.as_str();
    let hash = text
        .strip_prefix('$')
        .filter(|hash| hash.len() == 43)
        .and_then(|hash| URL_SAFE_NO_PAD.decode(hash).or_else(|_| STANDARD_NO_PAD.decode(hash)).ok());
    hash.unwrap_or_else(|| text.as_bytes().to_vec())
}

/// Returns the id with this stored form in a room of `version`.
///
/// # Errors
/// When the bytes are not the stored form of an id.
pub fn decode(bytes: &[u8], version: RoomVersion) -> Result<EventId, IdError> {
    if bytes.len() != 32 || version.rules().event_id_format == EventIdFormat::Server {
        return String::from_utf8_lossy(bytes).into_owned().try_into();
    }
    let mut text = String::with_capacity(44);
    text.push('$');
    match version.rules().event_id_format {
        EventIdFormat::Base64 => STANDARD_NO_PAD.encode_string(bytes, &mut text),
        _ => URL_SAFE_NO_PAD.encode_string(bytes, &mut text),
    }
    text.try_into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back() {
        for (id, version, length) in [
            ("$acR1l0raoZnm60CBwAVgqbZqoO/mYU81xysh1u7XcJk", RoomVersion::V3, 32),
            ("$Rqnc-F-dvnEYJTyHq_iKxU2bZ1CI92-kuZq3a5lr5Zg", RoomVersion::V12, 32),
            ("$1234567:example.org", RoomVersion::V1, 20),
            ("$a-32-byte-long-id01:example.org", RoomVersion::V1, 32),
        ] {
            let id = EventId::try_from(id).unwrap();
            let stored = encode(&id);
            assert_eq!(stored.len(), length, "{id}");
            assert_eq!(decode(&stored, version).unwrap(), id);
        }
    }
}
