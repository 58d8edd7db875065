//! Identifiers of users, rooms, aliases, events and servers
//! ([Identifier Grammar](https://spec.matrix.org/v1.19/appendices/#identifier-grammar)).
//!
//! Each is a newtype over `Arc<str>`: cloning is cheap, and every value is well formed. Requirements of single room
//! versions (a domain, or none) are checked when events are parsed.

mod server_name;
#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use server_name::{Host, split_host_port};

/// The longest identifier, in bytes, including sigil and domain
/// ([Common Identifier Format](https://spec.matrix.org/v1.19/appendices/#common-identifier-format)).
pub const MAX_LENGTH: usize = 255;

/// A device id: any string that the client or the server chose.
pub type DeviceId = String;

/// Why a string is not an identifier of the expected kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The first character is not the sigil.
    #[error("must start with '{0}'")]
    MissingSigil(char),
    /// The identifier has more than [`MAX_LENGTH`] bytes.
    #[error("is longer than 255 bytes")]
    TooLong,
    /// There is no `:` before a server name.
    #[error("has no ':' followed by a server name")]
    MissingServerName,
    /// The server name is malformed.
    #[error("does not end in a valid server name")]
    InvalidServerName,
    /// A part that must not be empty is.
    #[error("is empty")]
    Empty,
    /// A character is not allowed.
    #[error("contains a character that is not allowed")]
    InvalidCharacter,
}

/// Whether the text of a deserialization error says that an identifier is malformed. serde passes on only the text.
pub fn is_malformed_id(error: &str) -> bool {
    ["UserId ", "RoomId ", "RoomAlias ", "EventId ", "ServerName "].iter().any(|name| error.starts_with(name))
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Returns the identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(id: &str) -> Result<Self, IdError> {
                $check(id)?;
                Ok(Self(id.into()))
            }
        }

        impl TryFrom<&str> for $name {
            type Error = IdError;
            fn try_from(id: &str) -> Result<Self, IdError> {
                id.parse()
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(id: String) -> Result<Self, IdError> {
                $check(&id)?;
                Ok(Self(id.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                &*self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                &*self.0 == *other
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.as_ref().to_owned()
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(IdVisitor(stringify!($name), |id| id.parse()))
            }
        }
    };
}

identifier!(
    /// `@localpart:server` ([User Identifiers](https://spec.matrix.org/v1.19/appendices/#user-identifiers)). Historical
    /// localparts (any characters except `:` and NUL, or none at all) are accepted because events contain them;
    /// [`UserId::is_strict`] says whether a new user may have the id.
    UserId, check_user_id
);
identifier!(
    /// `!opaque:server`, or `!` and the create event's reference hash in room version 12 and later
    /// ([Room IDs](https://spec.matrix.org/v1.19/appendices/#room-ids)).
    RoomId, check_room_id
);
identifier!(
    /// `#localpart:server` ([Room Aliases](https://spec.matrix.org/v1.19/appendices/#room-aliases)).
    RoomAlias, check_room_alias
);
identifier!(
    /// `$opaque:server` in room versions 1 and 2, `$` and a base64 hash in later ones
    /// ([Event IDs](https://spec.matrix.org/v1.19/appendices/#event-ids)).
    EventId, check_event_id
);
identifier!(
    /// The name of a homeserver: a DNS name, IPv4 address or bracketed IPv6 address, with an optional port
    /// ([Server Name](https://spec.matrix.org/v1.19/appendices/#server-name)).
    ServerName, server_name::check
);

impl UserId {
    /// Returns the id of the user `localpart` on `server`.
    ///
    /// # Errors
    /// When the id would be malformed or too long.
    pub fn new(localpart: &str, server: &ServerName) -> Result<Self, IdError> {
        if localpart.contains(':') {
            return Err(IdError::InvalidCharacter);
        }
        format!("@{localpart}:{server}").try_into()
    }

    /// The part between `@` and the first `:`.
    pub fn localpart(&self) -> &str {
        split_domain(&self.0).0
    }

    /// The part after the first `:`.
    pub fn server_name(&self) -> &str {
        split_domain(&self.0).1
    }

    /// Returns the server's name without its port.
    pub fn server_host(&self) -> &str {
        split_host_port(self.server_name()).0
    }

    /// Whether the localpart follows the grammar for new users
    /// ([User Identifiers](https://spec.matrix.org/v1.19/appendices/#user-identifiers)).
    pub fn is_strict(&self) -> bool {
        let localpart = self.localpart();
        let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'=' | b'-' | b'/' | b'+');
        !localpart.is_empty() && localpart.bytes().all(allowed)
    }

    /// Whether clients may see the user id outside of an event: the localpart is non-empty printable ASCII
    /// ([Historical User IDs](https://spec.matrix.org/v1.19/appendices/#historical-user-ids)).
    pub fn is_compliant(&self) -> bool {
        let localpart = self.localpart();
        !localpart.is_empty() && localpart.bytes().all(|b| (0x21..=0x7e).contains(&b))
    }
}

impl RoomId {
    /// Returns the server that created the id; `None` for ids of room version 12 and later, which have no domain.
    pub fn server_name(&self) -> Option<&str> {
        self.0.split_once(':').map(|(_, server)| server)
    }

    /// Returns the id of the room with this create event (room version 12 and later): the same hash with another sigil.
    pub fn from_create_event(create: &EventId) -> Self {
        Self(create.0.replacen('$', "!", 1).into())
    }

    /// Returns the create event that this id names (room version 12 and later); `None` for ids with a domain.
    pub fn create_event_id(&self) -> Option<EventId> {
        let hash = self.0.strip_prefix('!')?;
        is_reference_hash(hash).then(|| EventId(format!("${hash}").into()))
    }
}

impl RoomAlias {
    /// Returns the alias `localpart` on `server`.
    ///
    /// # Errors
    /// When the alias would be malformed or too long.
    pub fn new(localpart: &str, server: &ServerName) -> Result<Self, IdError> {
        if localpart.contains(':') {
            return Err(IdError::InvalidCharacter);
        }
        format!("#{localpart}:{server}").try_into()
    }

    /// The part between `#` and the first `:`.
    pub fn localpart(&self) -> &str {
        split_domain(&self.0).0
    }

    /// The part after the first `:`.
    pub fn server_name(&self) -> &str {
        split_domain(&self.0).1
    }
}

impl EventId {
    /// Returns the server that created the id, in room versions 1 and 2.
    pub fn server_name(&self) -> Option<&str> {
        self.0.split_once(':').map(|(_, server)| server)
    }

    /// Returns the id of a hash, as in room versions 4 and later.
    pub fn of_hash(hash: &[u8; 32]) -> Self {
        Self::from_hash(&URL_SAFE_NO_PAD.encode(hash))
    }

    /// Makes the id of a hash in unpadded base64. Private: callers guarantee the grammar.
    pub(crate) fn from_hash(hash: &str) -> Self {
        Self(format!("${hash}").into())
    }
}

impl ServerName {
    /// Returns host and port; an IPv6 host keeps its brackets.
    pub fn host_port(&self) -> (&str, Option<u16>) {
        let (host, port) = split_host_port(&self.0);
        (host, port.and_then(|p| p.parse().ok()))
    }

    /// Returns the host as a DNS name or an address.
    pub fn host(&self) -> Host<'_> {
        Host::of(split_host_port(&self.0).0)
    }
}

/// Whether `hash` is 43 characters of URL-safe base64: a SHA-256 hash as in ids of room versions 4 and later.
pub(crate) fn is_reference_hash(hash: &str) -> bool {
    hash.len() == 43 && hash.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn split_domain(id: &str) -> (&str, &str) {
    let rest = id.get(1..).unwrap_or_default();
    rest.split_once(':').unwrap_or((rest, ""))
}

fn check_common(id: &str, sigil: char) -> Result<&str, IdError> {
    let rest = id.strip_prefix(sigil).ok_or(IdError::MissingSigil(sigil))?;
    if id.len() > MAX_LENGTH {
        return Err(IdError::TooLong);
    }
    if rest.contains('\0') {
        return Err(IdError::InvalidCharacter);
    }
    Ok(rest)
}

fn check_domain(rest: &str) -> Result<(), IdError> {
    let (_, server) = rest.split_once(':').ok_or(IdError::MissingServerName)?;
    server_name::check(server).map_err(|_| IdError::InvalidServerName)
}

fn check_user_id(id: &str) -> Result<(), IdError> {
    check_domain(check_common(id, '@')?)
}

fn check_room_alias(id: &str) -> Result<(), IdError> {
    check_domain(check_common(id, '#')?)
}

fn check_room_id(id: &str) -> Result<(), IdError> {
    check_opaque(check_common(id, '!')?)
}

/// Whether `id` is an event id.
pub(crate) fn check_event_id(id: &str) -> Result<(), IdError> {
    check_opaque(check_common(id, '$')?)
}

/// Room and event ids are opaque: with a domain in early room versions, without one in later ones.
fn check_opaque(rest: &str) -> Result<(), IdError> {
    if rest.is_empty() {
        return Err(IdError::Empty);
    }
    if rest.contains(':') { check_domain(rest) } else { Ok(()) }
}

struct IdVisitor<T>(&'static str, fn(&str) -> Result<T, IdError>);

impl<T> serde::de::Visitor<'_> for IdVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {} string", self.0)
    }

    fn visit_str<E: serde::de::Error>(self, id: &str) -> Result<T, E> {
        (self.1)(id).map_err(|e| E::custom(format_args!("{} {e}", self.0)))
    }
}
