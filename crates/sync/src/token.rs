//! The tokens of `/sync`: `s<position>_<ephemeral>`, and `_<to-device position>` while a device lags behind in its
//! messages, and `_<sticky position>` while it does in sticky events; the third number is missing if only in those.

use std::fmt;
use std::str::FromStr;

use plexus_store::Position;

/// A point in time as a client sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyncToken {
    /// The client has everything durable at or before this position.
    pub position: Position,
    /// The serial of typing and presence; starts at the boot time in ms, so older tokens stay valid after a restart.
    pub ephemeral: u64,
    /// Set while not all messages to the device fitted into one response: the position of the last one sent.
    pub to_device: Option<Position>,
    /// Set while not all sticky events fitted into one response: the position after which the others are.
    pub sticky: Option<Position>,
}

/// The text is not a token of this server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a sync token")]
pub struct TokenError;

impl SyncToken {
    /// Returns the position up to which the device has its messages.
    pub fn to_device_position(&self) -> Position {
        self.to_device.unwrap_or(self.position)
    }

    /// Returns the position up to which the device has the sticky events.
    pub fn sticky_position(&self) -> Position {
        self.sticky.unwrap_or(self.position)
    }
}

impl fmt::Display for SyncToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}_{}", self.position, self.ephemeral)?;
        match (self.to_device, self.sticky) {
            (None, None) => Ok(()),
            (Some(position), None) => write!(f, "_{position}"),
            (None, Some(sticky)) => write!(f, "__{sticky}"),
            (Some(position), Some(sticky)) => write!(f, "_{position}_{sticky}"),
        }
    }
}

impl FromStr for SyncToken {
    type Err = TokenError;

    /// Accepts the short form `s<position>` of `/messages` too.
    fn from_str(text: &str) -> Result<Self, TokenError> {
        let mut parts = text.strip_prefix('s').ok_or(TokenError)?.split('_');
        let position = number(parts.next())?.ok_or(TokenError)?;
        let ephemeral = number(parts.next())?.unwrap_or(0);
        let (to_device, sticky) = (parts.next(), parts.next());
        // It is empty only where the next number follows.
        let to_device = number(to_device.filter(|text| !text.is_empty() || sticky.is_none()))?;
        match (parts.next(), number(sticky)?) {
            (None, sticky) => Ok(Self { position, ephemeral, to_device, sticky }),
            (Some(_), _) => Err(TokenError),
        }
    }
}

fn number<T: FromStr>(part: Option<&str>) -> Result<Option<T>, TokenError> {
    part.map(|digits| digits.parse().map_err(|_| TokenError)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_round_trip() {
        for text in ["s0_0", "s72594_1700000000000", "s5_6_4", "s5_6__3", "s5_6_4_3"] {
            assert_eq!(text.parse::<SyncToken>().map(|token| token.to_string()), Ok(text.to_owned()));
        }
        assert_eq!("s12".parse(), Ok(SyncToken { position: 12, ephemeral: 0, to_device: None, sticky: None }));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "s", "12", "t1-2_3", "s1_2_3_4_5", "s1__", "s1_2_", "s1_2__", "s99999999999999999999_1"] {
            assert_eq!(text.parse::<SyncToken>(), Err(TokenError), "{text}");
        }
    }
}
