//! The little of XML that responses of S3 servers need: texts of elements that have no attributes.

/// Returns the texts of the elements `name`, in their order.
pub(super) fn elements(body: &[u8], name: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(body);
    let (begin, end) = (format!("<{name}>"), format!("</{name}>"));
    let texts = text.split(&begin).skip(1).filter_map(|rest| rest.split_once(&end));
    texts.map(|(text, _)| unescape(text)).collect()
}

/// The characters that are written as entities; the ampersand last, for [`unescape`].
const ENTITIES: [(&str, &str); 7] =
    [("<", "&lt;"), (">", "&gt;"), ("\"", "&quot;"), ("'", "&apos;"), ("\"", "&#34;"), ("'", "&#39;"), ("&", "&amp;")];

fn unescape(text: &str) -> String {
    ENTITIES.iter().fold(text.to_owned(), |text, (character, entity)| text.replace(entity, character))
}

/// Returns `text` as the text of an element.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found() {
        let list =
            b"<?xml version=\"1.0\"?><R><Contents><Key>a&amp;lt;/b&#39;</Key><ETag>&quot;1&quot;</ETag></Contents>\
                     <Contents><Key>c</Key></Contents><Key>never ends";
        assert_eq!(elements(list, "Key"), ["a&lt;/b'", "c"]);
        assert_eq!(elements(list, "ETag"), ["\"1\""]);
        assert!(elements(list, "Code").is_empty() && elements(b"\xff", "Key").is_empty());
        assert_eq!(escape("\"a&<b>\""), "\"a&amp;&lt;b&gt;\"");
    }
}
