//! Headers of media responses: uploaded HTML or SVG must not run as a page of the homeserver's origin.

use std::fmt::Write as _;

/// Content types a browser may show in place (specification, "Serving inline content").
const INLINE: &[&str] = &[
    "text/css",
    "text/plain",
    "text/csv",
    "application/json",
    "application/ld+json",
    "image/jpeg",
    "image/gif",
    "image/png",
    "image/apng",
    "image/webp",
    "image/avif",
    "video/mp4",
    "video/webm",
    "video/ogg",
    "video/quicktime",
    "audio/mp4",
    "audio/webm",
    "audio/aac",
    "audio/mpeg",
    "audio/ogg",
    "audio/wave",
    "audio/wav",
    "audio/x-wav",
    "audio/x-pn-wav",
    "audio/flac",
    "audio/x-flac",
];

/// The Content-Security-Policy the specification asks for ("Content repository", security considerations).
pub const CONTENT_SECURITY_POLICY: &str = "sandbox; default-src 'none'; script-src 'none'; \
    plugin-types application/pdf; style-src 'unsafe-inline'; object-src 'self';";

/// Returns the value of Content-Type: that of the uploader if it is a plausible type, else `application/octet-stream`.
pub fn content_type(said: &str) -> &str {
    let valid = |byte: u8| (0x20..0x7f).contains(&byte);
    match essence(said).split_once('/') {
        Some((kind, subtype)) if !kind.is_empty() && !subtype.is_empty() && said.bytes().all(valid) => said,
        _ => "application/octet-stream",
    }
}

fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

/// Returns the value of Content-Disposition (RFC 6266): `inline` for harmless types, `attachment` for all others, with
/// the file name, in the extended form (RFC 8187) if it has other characters than ASCII's.
pub fn content_disposition(content_type: &str, file_name: Option<&str>) -> String {
    let essence = essence(content_type).to_ascii_lowercase();
    let mut value = String::from(if INLINE.contains(&essence.as_str()) { "inline" } else { "attachment" });
    let Some(name) = file_name.filter(|name| !name.is_empty()) else {
        return value;
    };
    if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte)) {
        value.push_str("; filename=");
        value.push_str(name);
    } else if name.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        value.push_str("; filename=\"");
        value.push_str(&name.replace('\\', "\\\\").replace('"', "\\\""));
        value.push('"');
    } else {
        value.push_str("; filename*=utf-8''");
        for byte in name.bytes() {
            if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
                value.push(char::from(byte));
            } else {
                // Writing to a String cannot fail.
                let _ = write!(value, "%{byte:02X}");
            }
        }
    }
    value
}

/// Returns the file name in a Content-Disposition, without any folders in front of it: the extended form (RFC 8187) if
/// it is there.
pub fn file_name(disposition: &str) -> Option<String> {
    let parameters = parameters(disposition);
    let parameter = |wanted: &str| {
        parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.as_str())
    };
    let extended = parameter("filename*").and_then(|value| {
        let (charset, rest) = value.split_once('\'')?;
        let (_, encoded) = rest.split_once('\'')?;
        let bytes = charset.eq_ignore_ascii_case("utf-8").then(|| plexus_net::percent_decode(encoded).collect())?;
        String::from_utf8(bytes).ok()
    });
    let name = extended.or_else(|| parameter("filename").map(str::to_owned))?;
    without_controls(name.rsplit(['/', '\\']).next().unwrap_or_default())
}

/// Returns the parameters of a header after its first value, with quoted values unquoted (RFC 9110, section 5.6.6).
fn parameters(header: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = header.split_once(';').map_or("", |(_, rest)| rest);
    while !rest.is_empty() {
        let (name, after) = rest.split_at(rest.find([';', '=']).unwrap_or(rest.len()));
        let Some(after) = after.strip_prefix('=') else {
            // A parameter without a value.
            rest = after.strip_prefix(';').unwrap_or_default();
            continue;
        };
        let (value, after) = match after.trim_start().strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let (value, after) = after.split_at(after.find(';').unwrap_or(after.len()));
                (value.trim().to_owned(), after)
            }
        };
        found.push((name.trim().to_owned(), value));
        rest = after.split_once(';').map_or("", |(_, rest)| rest);
    }
    found
}

/// Returns the text up to the quotation mark that ends it, and what follows.
fn unquote(quoted: &str) -> (String, &str) {
    let mut text = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (text, quoted.get(at + 1..).unwrap_or_default()),
            '\\' => text.extend(characters.next().map(|(_, escaped)| escaped)),
            _ => text.push(character),
        }
    }
    (text, "")
}

/// Returns a file name without control characters, which are never intended and which not every database stores; `None`
/// if nothing is left.
pub(crate) fn without_controls(name: &str) -> Option<String> {
    let name: String = name.chars().filter(|character| !character.is_control()).collect();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_that_could_run_is_an_attachment() {
        for (content_type, disposition) in [
            ("image/png", "inline"),
            ("Text/Plain; charset=utf-8", "inline"),
            ("text/html", "attachment"),
            ("image/svg+xml", "attachment"),
            ("application/pdf", "attachment"),
            ("application/javascript", "attachment"),
            ("nonsense", "attachment"),
        ] {
            assert_eq!(content_disposition(content_type, None), disposition, "{content_type}");
        }
    }

    #[test]
    fn file_names_are_quoted_as_they_need() {
        assert_eq!(content_disposition("image/png", Some("red.png")), "inline; filename=red.png");
        assert_eq!(content_disposition("image/png", Some("a \"b\".png")), r#"inline; filename="a \"b\".png""#);
        assert_eq!(content_disposition("image/png", Some("ü\n.png")), "inline; filename*=utf-8''%C3%BC%0A.png");
    }

    #[test]
    fn file_names_survive_the_header() {
        for name in [
            "red.png",
            "a \"b\".png",
            "ü;.png",
            "100%25.txt",
            "a; filename=b.png",
            "写真 1.png",
            "صورة.png",
            "तस्वीर'.png",
        ] {
            assert_eq!(file_name(&content_disposition("image/png", Some(name))).as_deref(), Some(name));
        }
        assert_eq!(file_name("attachment; FileName=plain.txt; filename*=UTF-8'en'%e2%82%ac"), Some("€".to_owned()));
        assert_eq!(file_name("attachment; filename=../../etc/passwd"), Some("passwd".to_owned()));
        assert_eq!(file_name("attachment; filename*=utf-8''%ff"), None);
        assert_eq!(file_name("attachment; filename*=utf-8''a%00%0Ab%7F.txt"), Some("ab.txt".to_owned()));
        assert_eq!(file_name("inline"), None);
        assert_eq!(file_name("attachment; a; filename=\"b.txt"), Some("b.txt".to_owned()));
        assert_eq!(file_name("attachment; x=\"filename=c\" ; filename = d "), Some("d".to_owned()));
    }

    #[test]
    fn a_content_type_that_is_none_is_not_repeated() {
        assert_eq!(content_type("image/png"), "image/png");
        assert_eq!(content_type("text/plain; charset=utf-8"), "text/plain; charset=utf-8");
        for said in ["", "png", "image/", "/png", "image/png\r\nX: y", "image/é"] {
            assert_eq!(content_type(said), "application/octet-stream", "{said:?}");
        }
    }
}
