//! The `pos` of sliding sync: `<state id>_<position>_<ephemeral>`.

use std::fmt;
use std::str::FromStr;

use plexus_store::Position;

use crate::token::{SyncToken, TokenError};

/// A point of a connection as its client sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pos {
    /// What the connection had been sent; 0: no rooms.
    pub(super) state_id: i64,
    /// Everything durable that concerns the connection's live rooms at or before this has been sent.
    pub(super) position: Position,
    /// The serial of typing and presence.
    pub(super) ephemeral: u64,
}

impl Pos {
    /// Returns the token of the same point.
    #[must_use]
    pub fn token(self) -> SyncToken {
        SyncToken { position: self.position, ephemeral: self.ephemeral, to_device: None }
    }
}

impl fmt::Display for Pos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { state_id, position, ephemeral } = self;
        write!(f, "{state_id:x}_{position}_{ephemeral}")
    }
}

impl FromStr for Pos {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let mut parts = text.split('_');
        let mut next = || parts.next().ok_or(TokenError);
        let state_id = i64::from_str_radix(next()?, 16).map_err(|_| TokenError)?;
        let position = next()?.parse().map_err(|_| TokenError)?;
        let ephemeral = next()?.parse().map_err(|_| TokenError)?;
        let is_sound = state_id >= 0 && position >= 0 && parts.next().is_none();
        if is_sound { Ok(Self { state_id, position, ephemeral }) } else { Err(TokenError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_survive_the_round_trip() {
        for text in ["0_0_0", "7fffffffffffffff_72594_1700000000000"] {
            assert_eq!(text.parse::<Pos>().map(|pos| pos.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "s1_2", "1_2", "1_2_3_4", "-1_2_3", "1_-2_3", "x_1_2", "8000000000000000_1_1", "1_2_"] {
            assert_eq!(text.parse::<Pos>(), Err(TokenError), "{text}");
        }
    }
}
