use std::io::Cursor;

use encoding_rs::Encoding;
use plexus_protocol::json::Object;

use super::super::charset::{self, Decoded};
use super::*;

/// Pages in the shapes that sites use, each with what is to be known of it:
/// `=== name`, `encoding ...`, `content-type ...`, the page, `--- Open Graph tags`.
const PAGES: &str = include_str!("pages.txt");

struct Example<'p> {
    name: &'p str,
    body: Vec<u8>,
    content_type: &'p str,
    expected: Object,
}

fn examples() -> Vec<Example<'static>> {
    PAGES.split("=== ").skip(1).map(example).collect()
}

fn example(text: &str) -> Example<'_> {
    let (name, rest) = text.split_once("\nencoding ").expect("an encoding");
    let (encoding, rest) = rest.split_once("\ncontent-type ").expect("a content type");
    let (content_type, rest) = rest.split_once('\n').expect("a page");
    let (html, expected) = rest.rsplit_once("\n--- ").expect("what is expected");
    let encoding = Encoding::for_label(encoding.as_bytes()).expect("a known encoding");
    let (body, _, has_unmappable) = encoding.encode(html);
    assert!(!has_unmappable, "{name}");
    Example { name, body: body.into_owned(), content_type, expected: Object::parse(expected).expect("JSON") }
}

fn read(body: &[u8], content_type: &str) -> Page {
    let mut body = Cursor::new(body);
    let encoding = charset::detect(&mut body, content_type).expect("in memory");
    Page::read(Decoded::new(body, encoding)).expect("in memory")
}

#[test]
fn pages_of_all_shapes_are_understood() {
    let examples = examples();
    assert!(examples.len() >= 200, "{}", examples.len());
    let mut wrong = Vec::new();
    for Example { name, body, content_type, mut expected } in examples {
        let mut found = read(&body, content_type).open_graph();
        remove_long(&mut found);
        remove_long(&mut expected);
        if found != expected {
            wrong.push(format!("{name}:\n  found    {}\n  expected {}", found.to_json(), expected.to_json()));
        }
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}
