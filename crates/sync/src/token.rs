//! The tokens of `/sync`: `s<position>_<ephemeral>`, and `_<to-device position>` while a device lags behind in its
//! messages.

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
}

impl fmt::Display for SyncToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}_{}", self.position, self.ephemeral)?;
        match self.to_device {
            Some(position) => write!(f, "_{position}"),
            None => Ok(()),
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
        let to_device = number(parts.next())?;
        match parts.next() {
            None => Ok(Self { position, ephemeral, to_device }),
            Some(_) => Err(TokenError),
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
        for text in ["s0_0", "s72594_1700000000000", "s5_6_4"] {
            assert_eq!(text.parse::<SyncToken>().map(|token| token.to_string()), Ok(text.to_owned()));
        }
        assert_eq!("s12".parse(), Ok(SyncToken { position: 12, ephemeral: 0, to_device: None }));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "s", "12", "t1-2_3", "s1_2_3_4", "s1__", "s99999999999999999999_1"] {
            assert_eq!(text.parse::<SyncToken>(), Err(TokenError), "{text}");
        }
    }
}
