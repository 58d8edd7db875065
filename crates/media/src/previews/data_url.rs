//! `data:` URLs (RFC 2397), in which pages have small images.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use percent_encoding::percent_decode_str;

/// Pages often leave out the padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// What is in the URL.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DataUrl {
    /// The media type.
    pub(super) content_type: String,
    /// The content.
    pub(super) content: Vec<u8>,
}

impl DataUrl {
    /// Parses a URL; `None` if it is not a `data:` URL.
    pub(super) fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once(':')?;
        let (head, data) = rest.split_once(',').filter(|_| scheme.eq_ignore_ascii_case("data"))?;
        let data: Vec<u8> = percent_decode_str(data).collect();
        let (content_type, content) = match head.rsplit_once(';') {
            Some((content_type, encoding)) if encoding.trim().eq_ignore_ascii_case("base64") => {
                let mut data = data;
                data.retain(|byte| !byte.is_ascii_whitespace());
                (content_type, BASE64.decode(data).ok()?)
            }
            _ => (head, data),
        };
        let content_type = if content_type.is_empty() { "text/plain;charset=US-ASCII" } else { content_type };
        Some(Self { content_type: content_type.to_owned(), content })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_in_base64_or_as_it_is() {
        for (url, content_type, content) in [
            ("data:image/png;base64,aGk=", "image/png", "hi"),
            ("DATA:image/png;charset=x;BASE64,aGk", "image/png;charset=x", "hi"),
            ("data:image/png;base64,aG%0Ak%3D", "image/png", "hi"),
            ("data:image/svg+xml,%3Csvg/%3E", "image/svg+xml", "<svg/>"),
            ("data:,a,b", "text/plain;charset=US-ASCII", "a,b"),
        ] {
            let parsed = DataUrl::parse(url).unwrap();
            assert_eq!((parsed.content_type.as_str(), parsed.content.as_slice()), (content_type, content.as_bytes()));
        }
        for url in ["http://a.example/,", "data:image/png;base64", "data:image/png;base64,!!", "data", ""] {
            assert_eq!(DataUrl::parse(url), None, "{url}");
        }
    }
}
