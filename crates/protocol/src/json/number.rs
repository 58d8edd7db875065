//! Numbers, kept as they were written.

use std::fmt;

/// The largest integer in canonical JSON, 2^53 - 1; the smallest is its negative.
pub const MAX_SAFE_INTEGER: i64 = (1 << 53) - 1;

/// A JSON number. 64-bit integers are stored as such, everything else as text.
#[derive(Debug, Clone, PartialEq)]
pub struct Number(Repr);

#[derive(Debug, Clone, PartialEq)]
enum Repr {
    Integer(i64),
    /// Valid JSON number text.
    Text(Box<str>),
}

impl Number {
    /// `text` must follow JSON's number grammar. `-0` is the integer zero, as in Python.
    pub(super) fn from_valid_text(text: &str) -> Self {
        match text.parse() {
            Ok(integer) => Self(Repr::Integer(integer)),
            Err(_) => Self(Repr::Text(text.into())),
        }
    }

    /// Returns a finite floating-point number; `None` for infinities and NaN.
    pub fn from_f64(float: f64) -> Option<Self> {
        float.is_finite().then(|| Self(Repr::Text(python_float(float).into())))
    }

    /// Returns the integer if it is written as one and fits.
    pub fn as_i64(&self) -> Option<i64> {
        match &self.0 {
            Repr::Integer(integer) => Some(*integer),
            Repr::Text(text) => text.parse().ok(),
        }
    }

    /// Returns the non-negative integer if it is written as one and fits.
    pub fn as_u64(&self) -> Option<u64> {
        match &self.0 {
            Repr::Integer(integer) => u64::try_from(*integer).ok(),
            Repr::Text(text) => text.parse().ok(),
        }
    }

    /// Returns the nearest floating-point number; infinite when out of range.
    pub fn as_f64(&self) -> f64 {
        match &self.0 {
            #[expect(clippy::cast_precision_loss, reason = "the nearest float is what is asked for")]
            Repr::Integer(integer) => *integer as f64,
            Repr::Text(text) => text.parse().unwrap_or(f64::NAN),
        }
    }

    /// Whether it is written without fraction and exponent.
    pub fn is_integer(&self) -> bool {
        match &self.0 {
            Repr::Integer(_) => true,
            Repr::Text(text) => !text.bytes().any(|b| matches!(b, b'.' | b'e' | b'E')),
        }
    }

    /// Whether canonical JSON of room versions 6 and later can represent it: an integer of at most 53 bits.
    pub fn is_canonical(&self) -> bool {
        self.as_i64().is_some_and(|i| (-MAX_SAFE_INTEGER..=MAX_SAFE_INTEGER).contains(&i))
    }

    /// Whether [`Number::write`] is known to reproduce `text`, from which the number was parsed.
    pub(super) fn is_written_as(&self, text: &str) -> bool {
        matches!(self.0, Repr::Integer(_)) && text != "-0"
    }

    /// Appends the number as Python's encoder writes it, and so the servers of room versions 1 to 5.
    pub(super) fn write(&self, out: &mut String) {
        match &self.0 {
            Repr::Integer(integer) => write_integer(*integer, out),
            Repr::Text(text) if self.is_integer() => out.push_str(text),
            Repr::Text(text) => match text.parse::<f64>() {
                Ok(float) if float.is_finite() => out.push_str(&python_float(float)),
                // Python would write `Infinity`, which is not JSON.
                _ => out.push_str(text),
            },
        }
    }
}

impl fmt::Display for Number {
    /// As it was written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Integer(integer) => integer.fmt(f),
            Repr::Text(text) => f.write_str(text),
        }
    }
}

impl From<i64> for Number {
    fn from(integer: i64) -> Self {
        Self(Repr::Integer(integer))
    }
}

impl From<u64> for Number {
    fn from(integer: u64) -> Self {
        match i64::try_from(integer) {
            Ok(integer) => Self(Repr::Integer(integer)),
            Err(_) => Self(Repr::Text(integer.to_string().into())),
        }
    }
}

fn write_integer(integer: i64, out: &mut String) {
    use std::fmt::Write;
    let _ = write!(out, "{integer}");
}

/// Returns a finite float as Python's `repr` writes it: the shortest digits that parse to the same float, with an
/// exponent when it is below -4 or at least 16.
fn python_float(float: f64) -> String {
    let mut scientific = format!("{float:e}");
    let places = scientific.find('e').map_or(0, |end| end.saturating_sub(usize::from(float.is_sign_negative()) + 2));
    // Of two equally near shortest forms Rust takes the upper one and Python the even one, like rounding to that many
    // places. Next to powers of two that may be another number.
    let even = format!("{float:.places$e}");
    if even.parse() == Ok(float) {
        scientific = even;
    }
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |rest| ("-", rest));
    match (exponent, digits.replace('.', "")) {
        (0..16, mut all) => {
            let whole = exponent.unsigned_abs() as usize + 1;
            while all.len() <= whole {
                all.push('0');
            }
            all.insert(whole, '.');
            sign.to_owned() + &all
        }
        (-4..0, all) => format!("{sign}0.{}{all}", "0".repeat(exponent.unsigned_abs() as usize - 1)),
        (_, _) => format!("{sign}{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.unsigned_abs()),
    }
}
