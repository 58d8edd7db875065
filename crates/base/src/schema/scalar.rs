//! Durations, sizes, secrets and file modes.

use std::time::Duration;

use super::{Reader, Secret, Value};
use crate::yaml::{Node, Value as Yaml};

const DURATION_UNITS: [(&str, u64); 6] = [
    ("y", 365 * 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
];

fn whole_number(text: &str) -> Option<u64> {
    let digits = text.trim().replace('_', "");
    let valid = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    valid.then(|| digits.parse().ok())?
}

/// Parses milliseconds, or an integer with a unit: s, m, h, d, w, y (365 days).
pub fn parse_duration(text: &str) -> Option<Duration> {
    let unit = DURATION_UNITS.iter().find_map(|(suffix, millis)| Some((text.strip_suffix(suffix)?, *millis)));
    let (number, millis) = unit.unwrap_or((text, 1));
    whole_number(number)?.checked_mul(millis).map(Duration::from_millis)
}

/// Returns a duration in its largest whole unit.
pub(crate) fn format_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let unit = DURATION_UNITS.iter().find(|(_, unit)| millis > 0 && millis.is_multiple_of(*unit));
    match unit {
        Some((suffix, unit)) => format!("\"{}{suffix}\"", millis / unit),
        None => millis.to_string(),
    }
}

/// Parses bytes, or an integer with K, M, G, T (or KiB, MiB, GiB, TiB): powers of 1024.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    const UNITS: [(&str, u32); 4] = [("K", 10), ("M", 20), ("G", 30), ("T", 40)];
    let bare = text.strip_suffix("iB").unwrap_or(text);
    let unit = UNITS.iter().find_map(|(suffix, shift)| Some((bare.strip_suffix(suffix)?, *shift)));
    match unit {
        Some((number, shift)) => whole_number(number)?.checked_mul(1 << shift),
        None => whole_number(text),
    }
}

impl Value for Secret {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        if reader.forbid_secrets {
            let message = "secrets in the configuration file are forbidden by --no-secrets-in-config; use the option \
            ending in _path";
            reader.error(node.place, "", message);
            return None;
        }
        match node.as_text() {
            Some(text) => Some(Self::new(text)),
            None => {
                // The value is not repeated: it may be most of the secret.
                reader.error(node.place, "", "not a string; allowed is a string, in quotes");
                None
            }
        }
    }

    fn kind() -> String {
        "secret".to_owned()
    }
}

/// A string or a list of strings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OneOrMany(pub Vec<String>);

impl Value for OneOrMany {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        match &node.value {
            Yaml::Sequence(_) => Vec::read(node, reader).map(Self),
            _ => Some(Self(vec![String::read(node, reader)?])),
        }
    }

    fn absent(_reader: &mut Reader) -> Option<Self> {
        Some(Self::default())
    }

    fn kind() -> String {
        "string or list of string".to_owned()
    }

    fn show(&self) -> Option<String> {
        match self.0.as_slice() {
            [one] => one.show(),
            many => many.to_vec().show(),
        }
    }
}

/// The permission bits of a file, such as `0o660`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileMode(pub u32);

impl Value for FileMode {
    /// YAML 1.1 reads `0660` as octal. A plain `660` means octal 660, since no mode is that large in decimal; smaller
    /// decimal numbers are the bits themselves, as in Synapse.
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let text = node.as_text().unwrap_or_default();
        let octal = |digits: &str| u32::from_str_radix(digits, 8).ok();
        let mode = match text.strip_prefix("0o").or_else(|| text.strip_prefix('0')) {
            Some(digits) => octal(digits),
            None => match text.parse::<u32>() {
                Ok(bits @ 0..=0o777) => Some(bits),
                _ => octal(text),
            },
        };
        match mode.filter(|mode| *mode <= 0o777) {
            Some(mode) => Some(Self(mode)),
            None => reader.wrong(node, "a file mode such as 660"),
        }
    }

    fn kind() -> String {
        "file mode".to_owned()
    }

    fn show(&self) -> Option<String> {
        Some(format!("{:o}", self.0))
    }
}
