//! The Range header (RFC 9110, section 14).

/// The part of a file that a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteRange {
    /// The whole file: the request asks for no part, or not in a form that is supported, such as several parts.
    Whole,
    /// A part that is not empty.
    Part {
        /// The offset of its first byte.
        first: u64,
        /// The offset of its last byte.
        last: u64,
    },
    /// A part after the end of the file, which is refused.
    Unsatisfiable,
}

impl ByteRange {
    /// Returns the part that a Range header asks for, of a file with `length` bytes.
    pub fn select(header: &str, length: u64) -> Self {
        Self::parse(header, length).unwrap_or(Self::Whole)
    }

    /// Returns `None` if the header is not valid, or asks for several parts.
    fn parse(header: &str, length: u64) -> Option<Self> {
        let (unit, range) = header.split_once('=')?;
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (first, last) = range.trim().split_once('-')?;
        let (first, last) = (number(first)?, number(last)?);
        match (first, last) {
            (None, None) => None,
            (None, Some(0)) => Some(Self::Unsatisfiable),
            // An empty file has no part that could be named in a response.
            (None, Some(_)) if length == 0 => Some(Self::Whole),
            (None, Some(suffix)) => {
                Some(Self::Part { first: length.saturating_sub(suffix), last: length.saturating_sub(1) })
            }
            (Some(first), Some(last)) if last < first => None,
            (Some(first), _) if first >= length => Some(Self::Unsatisfiable),
            (Some(first), last) => {
                Some(Self::Part { first, last: last.unwrap_or(u64::MAX).min(length.saturating_sub(1)) })
            }
        }
    }
}

/// Returns the number of a range, `None` within `Some` if it is left out; `None` if it is no number. A number that is
/// too large for any file becomes the largest.
fn number(text: &str) -> Option<Option<u64>> {
    let text = text.trim();
    if text.is_empty() {
        return Some(None);
    }
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| Some(text.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_ranges_are_selected() {
        use ByteRange::{Part, Unsatisfiable, Whole};
        for (header, length, expected) in [
            ("bytes=0-0", 10, Part { first: 0, last: 0 }),
            ("bytes=2-5", 10, Part { first: 2, last: 5 }),
            ("Bytes = 2-5", 10, Part { first: 2, last: 5 }),
            ("bytes=2-", 10, Part { first: 2, last: 9 }),
            ("bytes=2-99999999999999999999999", 10, Part { first: 2, last: 9 }),
            ("bytes=-3", 10, Part { first: 7, last: 9 }),
            ("bytes=-30", 10, Part { first: 0, last: 9 }),
            ("bytes=10-", 10, Unsatisfiable),
            ("bytes=99999999999999999999999-", 10, Unsatisfiable),
            ("bytes=-0", 10, Unsatisfiable),
            ("bytes=0-", 0, Unsatisfiable),
            ("bytes=-1", 0, Whole),
            ("bytes=5-2", 10, Whole),
            ("bytes=0-1,4-5", 10, Whole),
            ("bytes=-", 10, Whole),
            ("bytes=", 10, Whole),
            ("bytes=+1-2", 10, Whole),
            ("bytes=a-b", 10, Whole),
            ("bytes", 10, Whole),
            ("lines=0-1", 10, Whole),
            ("", 10, Whole),
        ] {
            assert_eq!(ByteRange::select(header, length), expected, "{header} of {length}");
        }
    }
}
