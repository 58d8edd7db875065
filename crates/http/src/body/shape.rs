//! Says in words that JSON does not have the expected shape. serde's own texts name types of this program, and repeat
//! values that may be secret.

use std::fmt::Display;

use plexus_protocol::id::is_malformed_id;

use crate::ApiError;

/// Returns the error for a body of the wrong shape, with Synapse's code: `M_MISSING_PARAM` when a field is missing,
/// `M_INVALID_PARAM` when an identifier is malformed, `M_BAD_JSON` otherwise.
pub fn wrong_shape(error: &impl Display) -> ApiError {
    let text = error.to_string();
    let words = in_words(&text);
    if text.starts_with("missing field") {
        ApiError::missing_param(words)
    } else if is_malformed_id(&text) {
        ApiError::invalid_param(words)
    } else {
        ApiError::bad_json(words)
    }
}

/// Returns what serde says, in words that clients understand.
pub fn in_words(serde: &str) -> String {
    let (text, place) = match serde.rsplit_once(" at line ") {
        Some((text, place)) => (text, format!(" (line {})", place.replace(" column ", ", column "))),
        None => (serde, String::new()),
    };
    let quoted = |text: &str| text.split('`').nth(1).unwrap_or_default().to_owned();
    if text.starts_with("missing field") {
        format!("Missing parameter: {}", quoted(text))
    } else if text.starts_with("duplicate field") {
        format!("{} is there twice{place}", quoted(text))
    } else if text.starts_with("unknown variant") {
        let known = text.rsplit_once("expected ").map_or("", |(_, known)| known).replace('`', "");
        format!("A value is not {known}{place}")
    } else if let Some(mismatch) = text.strip_prefix("invalid type: ").or(text.strip_prefix("invalid value: ")) {
        // Of both, the values can contain anything.
        let (found, expected) = mismatch.rsplit_once(", expected ").unwrap_or((mismatch, "something else"));
        format!("Expected {}, found {}{place}", expected_in_words(expected), found_in_words(found))
    } else if let Some(words) = parser_in_words(text) {
        format!("{words}{place}")
    } else {
        format!("{}{place}", identifiers_in_words(text))
    }
}

/// Replaces what the parsers of numbers, of arrays of a fixed length and of query strings say.
fn parser_in_words(text: &str) -> Option<&'static str> {
    Some(match text {
        "trailing characters" => "An array is too long",
        "invalid digit found in string" | "cannot parse integer from empty string" => {
            "A value is not a whole number, or is negative"
        }
        "invalid float literal" | "cannot parse float from empty string" => "A value is not a number",
        "number out of range"
        | "number too large to fit in target type"
        | "number too small to fit in target type"
        | "float out of range" => "A number is out of range",
        "provided string was not `true` or `false`" => "A value is neither true nor false",
        "unsupported value" => "A value is malformed",
        _ if text.starts_with("invalid length ") => "An array has the wrong length",
        _ => return None,
    })
}

/// Replaces the type with which a text about a malformed identifier begins.
fn identifiers_in_words(text: &str) -> String {
    let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
    let words = match first {
        "UserId" => "A user id",
        "RoomId" => "A room id",
        "RoomAlias" => "A room alias",
        "EventId" => "An event id",
        "ServerName" => "A server name",
        _ => return text.to_owned(),
    };
    format!("{words} {rest}")
}

fn expected_in_words(expected: &str) -> &str {
    let first = expected.split(' ').next().unwrap_or_default();
    match (first, expected) {
        ("struct" | "enum" | "internally", _) | (_, "a map" | "map") => "an object",
        ("tuple", _) | (_, "a sequence" | "sequence") => "an array",
        ("u8" | "u16" | "u32" | "u64" | "usize", _) => "a whole number that is not negative",
        ("i8" | "i16" | "i32" | "i64" | "isize", _) => "a whole number",
        ("f32" | "f64", _) => "a number",
        (_, "a boolean") => "true or false",
        (_, other) => other,
    }
}

fn found_in_words(found: &str) -> &'static str {
    match found.split(' ').next().unwrap_or_default() {
        "map" => "an object",
        "sequence" => "an array",
        "string" | "character" => "a string",
        "integer" | "floating" | "number" => "a number",
        "boolean" => "true or false",
        "null" | "unit" | "Option" => "null",
        _ => "something else",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use plexus_protocol::id::UserId;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Inner {
        #[serde(rename = "type")]
        _type: String,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        One,
        Two,
    }

    #[derive(Debug, Deserialize)]
    struct Body {
        #[serde(default)]
        _name: String,
        _list: Option<Vec<Inner>>,
        _map: Option<BTreeMap<String, bool>>,
        _count: Option<u64>,
        _kind: Option<Kind>,
        _user: Option<UserId>,
        _range: Option<(u64, u64)>,
    }

    #[test]
    fn no_type_of_the_program_and_no_value_is_named() {
        let says = |json: &str| {
            let error = serde_json::from_str::<Body>(json).unwrap_err();
            format!("{:?}", wrong_shape(&error))
        };
        for (json, words) in [
            (r#"{"_name":5}"#, "Expected a string, found a number (line 1, column 10)"),
            (r#"{"_list":["secret"]}"#, "Expected an object, found a string (line 1, column 18)"),
            (r#"{"_list":{}}"#, "Expected an array, found an object (line 1, column 9)"),
            (r#"{"_list":[{}]}"#, "Missing parameter: type"),
            (r#"{"_map":{"a":"secret, expected x"}}"#, "Expected true or false, found a string (line 1, column 33)"),
            (r#"{"_map":null,"_map":null}"#, "_map is there twice (line 1, column 19)"),
            (r#"{"_count":-1}"#, "Expected a whole number that is not negative, found a number (line 1, column 12)"),
            (r#"{"_range":[0]}"#, "An array has the wrong length"),
            (r#"{"_range":[0,1,2]}"#, "An array is too long"),
            (r#"{"_count":1e999}"#, "A number is out of range"),
            (r#"{"_kind":"secret"}"#, "A value is not one or two (line 1, column 17)"),
        ] {
            let said = says(json);
            assert!(said.contains(words), "{json}: {said}");
            assert!(!said.contains("secret") && !said.contains("Inner") && !said.contains("Kind"), "{said}");
        }
        let malformed = says(r#"{"_user":"nobody"}"#);
        assert!(malformed.contains("M_INVALID_PARAM") && malformed.contains("A user id must start"), "{malformed}");
    }
}
