//! Percent-encoding.

use percent_encoding::{
    AsciiSet, NON_ALPHANUMERIC, PercentDecode, PercentEncode, percent_decode_str, utf8_percent_encode,
};

/// All but the unreserved characters (RFC 3986, section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// `text` as it stands in a segment of a path or in a value of a query.
pub fn percent_encode(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, RESERVED)
}

/// The bytes that `text` stands for in a URL.
pub fn percent_decode(text: &str) -> PercentDecode<'_> {
    percent_decode_str(text)
}
