//! Plain scalars by the rules of YAML 1.1 as applied by PyYAML: `yes` is a boolean, `0660` is octal, `1e6` is a string.

/// A resolved scalar. All kinds but strings keep their original text.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// `null`, `~` or nothing.
    Null,
    /// A boolean.
    Bool {
        /// The parsed value.
        value: bool,
        /// The text as written.
        text: String,
    },
    /// A 64-bit integer.
    Int {
        /// The parsed value.
        value: i64,
        /// The text as written.
        text: String,
    },
    /// A floating-point number.
    Float {
        /// The parsed value.
        value: f64,
        /// The text as written.
        text: String,
    },
    /// A string.
    String(String),
}

impl Scalar {
    /// Resolves a scalar written without quotes.
    pub fn plain(text: &str) -> Self {
        if matches!(text, "" | "~" | "null" | "Null" | "NULL") {
            return Self::Null;
        }
        let text = text.to_owned();
        if let Some(value) = boolean(&text) {
            Self::Bool { value, text }
        } else if let Some(value) = integer(&text) {
            Self::Int { value, text }
        } else if let Some(value) = float(&text) {
            Self::Float { value, text }
        } else {
            Self::String(text)
        }
    }

    /// Returns the text of a string or a number as written; `None` for null and booleans.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Null | Self::Bool { .. } => None,
            Self::Int { text, .. } | Self::Float { text, .. } | Self::String(text) => Some(text),
        }
    }

    pub(super) fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Bool { value, .. } => (*value).into(),
            Self::Int { value, .. } => (*value).into(),
            Self::Float { value, .. } => (*value).into(),
            Self::String(text) => text.as_str().into(),
        }
    }

    pub(super) fn describe(&self) -> String {
        match self {
            Self::Null => "nothing".to_owned(),
            Self::Bool { value, text } if *text == value.to_string() => {
                format!("the boolean {value}")
            }
            Self::Bool { value, text } => {
                format!("{text}, which YAML reads as the boolean {value}")
            }
            Self::Int { text, .. } | Self::Float { text, .. } => format!("the number {text}"),
            Self::String(text) => {
                let mut shown: String = text.chars().take(60).collect();
                if shown.len() < text.len() {
                    shown.push_str("...");
                }
                format!("the string {shown:?}")
            }
        }
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Some(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

fn sign(text: &str) -> (i64, &str) {
    match text.as_bytes().first() {
        Some(b'-') => (-1, &text[1..]),
        Some(b'+') => (1, &text[1..]),
        _ => (1, text),
    }
}

/// Parses an integer; `None` when the text is not one or exceeds 64 bits.
fn integer(text: &str) -> Option<i64> {
    let (sign, digits) = sign(text);
    let first = digits.bytes().next()?;
    if !first.is_ascii_digit() {
        return None;
    }
    let plain = digits.replace('_', "");
    let radix = |digits: &str, radix| {
        let valid = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
        valid.then(|| i64::from_str_radix(digits, radix).ok())?
    };
    let value = if let Some(hex) = plain.strip_prefix("0x") {
        radix(hex, 16)?
    } else if let Some(binary) = plain.strip_prefix("0b") {
        radix(binary, 2)?
    } else if plain.contains(':') {
        sexagesimal(&plain)?
    } else if plain.len() > 1 && first == b'0' {
        radix(&plain, 8)?
    } else {
        radix(&plain, 10)?
    };
    value.checked_mul(sign)
}

/// Parses numbers to the base 60 of YAML 1.1: `1:30` is 90.
fn sexagesimal(text: &str) -> Option<i64> {
    let mut total: i64 = 0;
    for (index, part) in text.split(':').enumerate() {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let leading = index == 0 && part.starts_with('0');
        let too_big = index > 0 && (part.len() > 2 || part.parse::<u8>().ok()? > 59);
        if !digits || leading || too_big {
            return None;
        }
        total = total.checked_mul(60)?.checked_add(part.parse().ok()?)?;
    }
    Some(total)
}

/// Parses a float, which has a dot and, in its exponent, a sign; other texts are strings.
fn float(text: &str) -> Option<f64> {
    let (sign, rest) = sign(text);
    let sign = if sign < 0 { -1.0 } else { 1.0 };
    match rest {
        ".inf" | ".Inf" | ".INF" => return Some(sign * f64::INFINITY),
        ".nan" | ".NaN" | ".NAN" if rest == text => return Some(f64::NAN),
        _ => {}
    }
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (rest, None),
    };
    let (whole, fraction) = mantissa.split_once('.')?;
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    let starts_with_digit = mantissa.starts_with(|c: char| c.is_ascii_digit())
        || (whole.is_empty() && fraction.starts_with(|c: char| c.is_ascii_digit()));
    let exponent_valid = exponent.is_none_or(|exponent| {
        exponent.starts_with(['+', '-'])
            && exponent.len() > 1
            && exponent[1..].bytes().all(|byte| byte.is_ascii_digit())
    });
    if !starts_with_digit || !digits(whole) || !digits(fraction) || !exponent_valid {
        return None;
    }
    let value: f64 = rest.replace('_', "").parse().ok()?;
    Some(sign * value)
}
