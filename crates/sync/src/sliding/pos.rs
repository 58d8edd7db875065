//! The `pos` of sliding sync: `<state id>_<position>_<ephemeral>`.

use std::fmt;
use std::str::FromStr;

use plexus_store::Position;

use crate::token::{SyncToken, TokenError};

/// A point of a connection as its client sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pos {
    /// What the connection had been sent.
    pub(super) state_id: StateId,
    /// Everything durable that concerns the connection's live rooms at or before this has been sent.
    pub(super) position: Position,
    /// The serial of typing and presence.
    pub(super) ephemeral: u64,
}

/// Names a state of a connection: `<stored>` or `<stored>.<members>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StateId {
    /// The stored state; random, and so known only to the connection's client.
    pub stored: i64,
    /// Distinguishes states in memory that differ from the stored one only in the members that were sent; 0: the stored
    /// one.
    pub members: u32,
}

impl StateId {
    pub(super) fn of_stored(stored: i64) -> Self {
        Self { stored, members: 0 }
    }

    /// Returns the stored state.
    pub(super) fn without_members(self) -> Self {
        Self::of_stored(self.stored)
    }

    /// Returns the id of a state with other members.
    pub(super) fn next_members(self) -> Self {
        Self { members: self.members.saturating_add(1), ..self }
    }
}

impl Pos {
    /// Returns the token of the same point.
    #[must_use]
    pub fn token(self) -> SyncToken {
        SyncToken { position: self.position, ephemeral: self.ephemeral, to_device: None, sticky: None }
    }
}

impl fmt::Display for StateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.stored)?;
        if self.members == 0 { Ok(()) } else { write!(f, ".{:x}", self.members) }
    }
}

impl FromStr for StateId {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let (stored, members) = match text.split_once('.') {
            Some((stored, members)) => (stored, u32::from_str_radix(members, 16).map_err(|_| TokenError)?),
            None => (text, 0),
        };
        let stored = i64::from_str_radix(stored, 16).map_err(|_| TokenError)?;
        if stored > 0 { Ok(Self { stored, members }) } else { Err(TokenError) }
    }
}

impl fmt::Display for Pos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { state_id, position, ephemeral } = self;
        write!(f, "{state_id}_{position}_{ephemeral}")
    }
}

impl FromStr for Pos {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let mut parts = text.split('_');
        let mut next = || parts.next().ok_or(TokenError);
        let state_id = next()?.parse()?;
        let position = next()?.parse().map_err(|_| TokenError)?;
        let ephemeral = next()?.parse().map_err(|_| TokenError)?;
        let is_sound = position >= 0 && parts.next().is_none();
        if is_sound { Ok(Self { state_id, position, ephemeral }) } else { Err(TokenError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_survive_the_round_trip() {
        for text in ["1_0_0", "7fffffffffffffff_72594_1700000000000", "5.1f_1_2"] {
            assert_eq!(text.parse::<Pos>().map(|pos| pos.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "s1_2",
            "1_2",
            "1_2_3_4",
            "-1_2_3",
            "1_-2_3",
            "x_1_2",
            "8000000000000000_1_1",
            "1_2_",
            "0_0_0",
            "1._2_3",
            "1.-1_2_3",
            "1.100000000_2_3",
        ] {
            assert_eq!(text.parse::<Pos>(), Err(TokenError), "{text}");
        }
    }
}
