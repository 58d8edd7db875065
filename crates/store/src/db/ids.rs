//! The protocol's identifiers as parameters and columns. They are validated when read.

use plexus_protocol::id::{EventId, RoomAlias, RoomId, ServerName, UserId};

use super::value::{FromSql, FromSqlError, Param, ToSql, ValueRef};

macro_rules! identifiers {
    ($($ty:ty),*) => {$(
        impl ToSql for $ty {
            fn to_param(&self) -> Param<'_> {
                Param::Text(self.as_str())
            }
        }

        impl FromSql for $ty {
            fn from_value(value: ValueRef<'_>) -> Result<Self, FromSqlError> {
                let text = String::from_value(value)?;
                Self::try_from(text).map_err(|error| FromSqlError::Invalid(error.to_string()))
            }
        }
    )*};
}

identifiers!(EventId, RoomAlias, RoomId, ServerName, UserId);
