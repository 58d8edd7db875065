//! The types of options.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::scalar::{format_duration, parse_duration, parse_size};
use super::{Field, Reader, Status, Value};
use crate::yaml::{Node, Scalar, Value as Yaml};

impl Field {
    pub(crate) fn of<T: Value>(
        name: &'static str,
        doc: &'static [&'static str],
        status: Status,
        default: Option<T>,
    ) -> Self {
        let absent = || T::absent(&mut Reader::new(Vec::new()));
        let value = default.or_else(absent);
        Self {
            name: name.trim_start_matches("r#"),
            doc,
            status,
            kind: T::kind(),
            required: value.is_none(),
            default: value.as_ref().and_then(T::show),
            members: T::nested(),
        }
    }
}

/// Options whose text Synapse interprets; every other boolean is true or false by Python's rules.
const BOOLEANS_BY_WORD: [&str; 3] =
    ["enable_registration", "disable_registration", "enable_registration_without_verification"];

impl Value for bool {
    /// As in Python: a number is true unless it is 0, a string unless it is empty.
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let by_word = BOOLEANS_BY_WORD.contains(&reader.option("").as_str());
        match &node.value {
            Yaml::Scalar(Scalar::Bool { value, .. }) => Some(*value),
            _ if by_word => match node.as_text().unwrap_or_default().to_lowercase().as_str() {
                "y" | "yes" | "t" | "true" | "on" | "1" => Some(true),
                "n" | "no" | "f" | "false" | "off" | "0" => Some(false),
                _ => reader.wrong(node, "true or false"),
            },
            Yaml::Scalar(Scalar::Int { value, .. }) => Some(*value != 0),
            Yaml::Scalar(Scalar::Float { value, .. }) => Some(*value != 0.0),
            Yaml::Scalar(Scalar::String(text)) => {
                let is_true = matches!(Scalar::plain(text), Scalar::Bool { value: true, .. });
                if !text.is_empty() && !is_true {
                    let message = format!(
                        "found {}, which counts as true, as in Synapse; write true or false, without quotes",
                        node.describe()
                    );
                    reader.warn(node.place, "", message);
                }
                Some(!text.is_empty())
            }
            _ => reader.wrong(node, "true or false"),
        }
    }

    fn kind() -> String {
        "boolean".to_owned()
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Value for String {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        match node.as_text() {
            Some(text) => Some(text.to_owned()),
            None if matches!(node.value, Yaml::Scalar(_)) => reader.wrong(node, "a string: put it in quotes"),
            None => reader.wrong(node, "a string"),
        }
    }

    fn kind() -> String {
        "string".to_owned()
    }

    fn show(&self) -> Option<String> {
        Some(super::describe::quoted(self))
    }
}

impl Value for PathBuf {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        match node.as_text() {
            Some(text) if !text.is_empty() => Some(Self::from(text)),
            _ => reader.wrong(node, "a path"),
        }
    }

    fn kind() -> String {
        "path".to_owned()
    }

    fn show(&self) -> Option<String> {
        Some(super::describe::quoted(&self.to_string_lossy()))
    }
}

/// Integers other than `u64`, which is a size.
macro_rules! integer {
    ($($ty:ty),*) => {$(
        impl Value for $ty {
            fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
                integer(node, reader, i64::from(Self::MIN), i64::from(Self::MAX))
                    .and_then(|value| Self::try_from(value).ok())
            }

            fn kind() -> String {
                "integer".to_owned()
            }

            fn show(&self) -> Option<String> {
                Some(self.to_string())
            }
        }
    )*};
}

integer!(u8, u16, u32, i64);

fn integer(node: &Node, reader: &mut Reader, least: i64, most: i64) -> Option<i64> {
    match &node.value {
        Yaml::Scalar(Scalar::Int { value, .. }) if (least..=most).contains(value) => Some(*value),
        Yaml::Scalar(Scalar::Float { value, .. })
            if value.fract() == 0.0 && *value >= least as f64 && *value <= most as f64 =>
        {
            Some(*value as i64)
        }
        Yaml::Scalar(Scalar::String(text)) => match Scalar::plain(text) {
            Scalar::Int { value, .. } if (least..=most).contains(&value) => {
                reader.warn(node.place, "", "a number is written without quotes");
                Some(value)
            }
            _ => not_integer(node, reader, least, most),
        },
        _ => not_integer(node, reader, least, most),
    }
}

fn not_integer(node: &Node, reader: &mut Reader, least: i64, most: i64) -> Option<i64> {
    match most {
        i64::MAX => reader.wrong(node, "an integer"),
        _ => reader.wrong(node, &format!("an integer from {least} to {most}")),
    }
}

impl Value for f64 {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        match &node.value {
            Yaml::Scalar(Scalar::Int { value, .. }) => Some(*value as Self),
            Yaml::Scalar(Scalar::Float { value, .. }) if value.is_finite() => Some(*value),
            Yaml::Scalar(Scalar::String(text)) if text.parse::<Self>().is_ok() => reader.wrong(
                node,
                "a number: without quotes, and with a dot and a sign when it has an exponent, as in 1.0e+6",
            ),
            _ => reader.wrong(node, "a number"),
        }
    }

    fn kind() -> String {
        "number".to_owned()
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

/// A size in bytes.
impl Value for u64 {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        match node.as_text().and_then(parse_size) {
            Some(bytes) => Some(bytes),
            None => reader.wrong(node, "a size: a whole number with or without K, M, G or T"),
        }
    }

    fn kind() -> String {
        "size".to_owned()
    }

    fn show(&self) -> Option<String> {
        const UNITS: [(u64, &str); 3] = [(1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];
        let unit = UNITS.into_iter().find(|(unit, _)| *self > 0 && self.is_multiple_of(*unit));
        Some(unit.map_or(self.to_string(), |(unit, name)| format!("\"{}{name}\"", self / unit)))
    }
}

impl Value for Duration {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        match node.as_text().and_then(parse_duration) {
            Some(duration) => Some(duration),
            None => reader.wrong(node, "a duration: whole milliseconds, or a whole number with s, m, h, d, w or y"),
        }
    }

    fn kind() -> String {
        "duration".to_owned()
    }

    fn show(&self) -> Option<String> {
        Some(format_duration(*self))
    }
}

/// An object or list with arbitrary content.
impl Value for serde_json::Value {
    fn read(node: &Node, _reader: &mut Reader) -> Option<Self> {
        Some(node.to_json())
    }

    fn kind() -> String {
        "any".to_owned()
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

/// An object with arbitrary content.
impl Value for serde_json::Map<String, serde_json::Value> {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        match node.to_json() {
            serde_json::Value::Object(object) => Some(object),
            _ => reader.wrong(node, "an object"),
        }
    }

    fn absent(_reader: &mut Reader) -> Option<Self> {
        Some(Self::new())
    }

    fn kind() -> String {
        "object".to_owned()
    }

    fn show(&self) -> Option<String> {
        Some(serde_json::Value::Object(self.clone()).to_string())
    }
}

impl<T: Value> Value for Option<T> {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        T::read(node, reader).map(Some)
    }

    fn absent(_reader: &mut Reader) -> Option<Self> {
        Some(None)
    }

    fn null() -> Option<Self> {
        Some(None)
    }

    fn kind() -> String {
        T::kind()
    }

    fn show(&self) -> Option<String> {
        match self {
            Some(value) => value.show(),
            None => Some("null".to_owned()),
        }
    }

    fn nested() -> Option<fn() -> Vec<Field>> {
        T::nested()
    }
}

impl<T: Value> Value for Vec<T> {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let Yaml::Sequence(items) = &node.value else {
            return reader.wrong(node, &format!("a {}", Self::kind()));
        };
        let items: Vec<Option<T>> = items.iter().enumerate().map(|(index, item)| reader.item(index, item)).collect();
        items.into_iter().collect()
    }

    fn absent(_reader: &mut Reader) -> Option<Self> {
        Some(Self::new())
    }

    fn kind() -> String {
        format!("list of {}", T::kind())
    }

    fn show(&self) -> Option<String> {
        let items: Option<Vec<String>> = self.iter().map(T::show).collect();
        Some(format!("[{}]", items?.join(", ")))
    }

    fn nested() -> Option<fn() -> Vec<Field>> {
        T::nested()
    }
}

impl<T: Value> Value for BTreeMap<String, T> {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let Yaml::Mapping(entries) = &node.value else {
            return reader.wrong(node, "an object");
        };
        let members: Vec<Option<(String, T)>> =
            entries.iter().map(|entry| Some((entry.key.clone(), reader.member(entry)?))).collect();
        members.into_iter().collect()
    }

    fn absent(_reader: &mut Reader) -> Option<Self> {
        Some(Self::new())
    }

    fn kind() -> String {
        format!("object of {}", T::kind())
    }

    fn show(&self) -> Option<String> {
        let member =
            |(name, value): (&String, &T)| Some(format!("{}: {}", super::describe::quoted(name), value.show()?));
        let members: Option<Vec<String>> = self.iter().map(member).collect();
        Some(format!("{{{}}}", members?.join(", ")))
    }

    fn nested() -> Option<fn() -> Vec<Field>> {
        T::nested()
    }
}
