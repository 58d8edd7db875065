//! Parameters of statements and values of columns.

/// One bound parameter.
#[derive(Clone, Copy, Debug)]
pub enum Param<'a> {
    /// SQL NULL.
    Null,
    /// An integer (booleans are 0 and 1).
    Int(i64),
    /// An integer that is refused when it does not fit in 63 bits.
    Unsigned(u64),
    /// Text; refused when it contains U+0000, which PostgreSQL cannot store.
    Text(&'a str),
    /// Bytes.
    Blob(&'a [u8]),
    /// The list in `= ANY($1)`.
    List(&'a dyn ListParam),
}

impl Param<'_> {
    /// Returns the parameter if both databases can store it, or why not.
    pub(super) fn checked(self) -> Result<Self, &'static str> {
        match self {
            Self::Unsigned(number) => i64::try_from(number).map(Self::Int).map_err(|_| "does not fit in 63 bits"),
            Self::Text(text) if text.contains('\0') => Err("contains U+0000"),
            Self::List(list) => {
                list.params().into_iter().try_for_each(|param| param.checked().map(drop))?;
                Ok(self)
            }
            other => Ok(other),
        }
    }
}

/// A list for `column = ANY($1)`: a slice or vector of numbers, texts or byte strings.
pub trait ListParam: std::fmt::Debug {
    /// Returns the elements in order.
    fn params(&self) -> Vec<Param<'_>>;
}

impl<T: ToSql + std::fmt::Debug> ListParam for Vec<T> {
    fn params(&self) -> Vec<Param<'_>> {
        self.iter().map(ToSql::to_param).collect()
    }
}

impl<T: ToSql + std::fmt::Debug> ListParam for &[T] {
    fn params(&self) -> Vec<Param<'_>> {
        self.iter().map(ToSql::to_param).collect()
    }
}

/// A value that can be bound to a placeholder.
pub trait ToSql {
    /// Returns the value as a parameter.
    fn to_param(&self) -> Param<'_>;
}

/// A list for `column = ANY($1)`: `tx.query("... WHERE nid = ANY($1)", &[&Any(&nids)], ..)`.
///
/// Elements may repeat; an empty list matches nothing.
#[derive(Debug)]
pub struct Any<'a, T>(pub &'a [T]);

impl<T: ToSql + std::fmt::Debug> ListParam for Any<'_, T> {
    fn params(&self) -> Vec<Param<'_>> {
        self.0.iter().map(ToSql::to_param).collect()
    }
}

impl<T: ToSql + std::fmt::Debug> ToSql for Any<'_, T> {
    fn to_param(&self) -> Param<'_> {
        Param::List(self)
    }
}

macro_rules! to_sql {
    ($($ty:ty => |$value:ident| $param:expr;)*) => {$(
        impl ToSql for $ty {
            fn to_param(&self) -> Param<'_> {
                let $value = self;
                $param
            }
        }
    )*};
}

to_sql! {
    i64 => |v| Param::Int(*v);
    i32 => |v| Param::Int(i64::from(*v));
    u32 => |v| Param::Int(i64::from(*v));
    u8 => |v| Param::Int(i64::from(*v));
    u64 => |v| Param::Unsigned(*v);
    bool => |v| Param::Int(i64::from(*v));
    str => |v| Param::Text(v);
    String => |v| Param::Text(v);
    Box<str> => |v| Param::Text(v);
    std::sync::Arc<str> => |v| Param::Text(v);
    [u8] => |v| Param::Blob(v);
    Vec<u8> => |v| Param::Blob(v);
}

impl<const N: usize> ToSql for [u8; N] {
    fn to_param(&self) -> Param<'_> {
        Param::Blob(self)
    }
}

impl<T: ToSql + ?Sized> ToSql for &T {
    fn to_param(&self) -> Param<'_> {
        (**self).to_param()
    }
}

impl<T: ToSql> ToSql for Option<T> {
    fn to_param(&self) -> Param<'_> {
        self.as_ref().map_or(Param::Null, ToSql::to_param)
    }
}

impl ToSql for Param<'_> {
    fn to_param(&self) -> Param<'_> {
        *self
    }
}

/// One column of one row, borrowed from the row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueRef<'a> {
    /// SQL NULL.
    Null,
    /// An integer or boolean.
    Int(i64),
    /// Text.
    Text(&'a str),
    /// Bytes.
    Blob(&'a [u8]),
}

impl ValueRef<'_> {
    fn kind(&self) -> &'static str {
        match self {
            Self::Null => "NULL",
            Self::Int(_) => "a number",
            Self::Text(_) => "text",
            Self::Blob(_) => "bytes",
        }
    }
}

/// A type that a column can be read as.
pub trait FromSql: Sized {
    /// Converts the value.
    ///
    /// # Errors
    /// What was expected and what was found.
    fn from_value(value: ValueRef<'_>) -> Result<Self, FromSqlError>;
}

/// A column does not have the content that the program expects.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FromSqlError {
    /// Another type.
    #[error("expected {expected}, found {found}")]
    Type {
        /// The type that the program reads.
        expected: &'static str,
        /// The type of the column's value.
        found: &'static str,
    },
    /// The right type, but an invalid value.
    #[error("{0}")]
    Invalid(String),
}

impl FromSqlError {
    fn expected(expected: &'static str, found: ValueRef<'_>) -> Self {
        Self::Type { expected, found: found.kind() }
    }
}

impl FromSql for i64 {
    fn from_value(value: ValueRef<'_>) -> Result<Self, FromSqlError> {
        match value {
            ValueRef::Int(number) => Ok(number),
            other => Err(FromSqlError::expected("a number", other)),
        }
    }
}

macro_rules! from_sql_int {
    ($($ty:ty),*) => {$(
        impl FromSql for $ty {
            fn from_value(value: ValueRef<'_>) -> Result<Self, FromSqlError> {
                let number = i64::from_value(value)?;
                Self::try_from(number).map_err(|_| {
                    FromSqlError::Invalid(format!("{number} is out of range for {}", stringify!($ty)))
                })
            }
        }
    )*};
}

from_sql_int!(u64, i32, u32, u16, u8, usize);

impl FromSql for bool {
    fn from_value(value: ValueRef<'_>) -> Result<Self, FromSqlError> {
        Ok(i64::from_value(value)? != 0)
    }
}

impl FromSql for String {
    fn from_value(value: ValueRef<'_>) -> Result<Self, FromSqlError> {
        match value {
            ValueRef::Text(text) => Ok(text.to_owned()),
            other => Err(FromSqlError::expected("text", other)),
        }
    }
}

impl FromSql for std::sync::Arc<str> {
    fn from_value(value: ValueRef<'_>) -> Result<Self, FromSqlError> {
        match value {
            ValueRef::Text(text) => Ok(text.into()),
            other => Err(FromSqlError::expected("text", other)),
        }
    }
}

impl FromSql for Vec<u8> {
    fn from_value(value: ValueRef<'_>) -> Result<Self, FromSqlError> {
        match value {
            ValueRef::Blob(bytes) => Ok(bytes.to_vec()),
            other => Err(FromSqlError::expected("bytes", other)),
        }
    }
}

impl<const N: usize> FromSql for [u8; N] {
    fn from_value(value: ValueRef<'_>) -> Result<Self, FromSqlError> {
        match value {
            ValueRef::Blob(bytes) => bytes
                .try_into()
                .map_err(|_| FromSqlError::Invalid(format!("expected {N} bytes, found {}", bytes.len()))),
            other => Err(FromSqlError::expected("bytes", other)),
        }
    }
}

impl<T: FromSql> FromSql for Option<T> {
    fn from_value(value: ValueRef<'_>) -> Result<Self, FromSqlError> {
        match value {
            ValueRef::Null => Ok(None),
            other => T::from_value(other).map(Some),
        }
    }
}
