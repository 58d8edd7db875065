use super::*;
use crate::json::{self, Object};

const WANTED: Wanted =
    Wanted { elements_of: &["state", "auth_chain"], max_element: 400, members: &["event", "origin"], max_member: 400 };

/// Pseudorandom numbers, the same every time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound.max(1)
    }

    fn space(&mut self) -> &'static str {
        ["", "", "", " ", "\n\t", "  \r\n"][self.below(6) as usize]
    }

    fn text(&mut self) -> String {
        let parts = ["a", "\\\"", "\\\\", "{", "}", "[", "]", ",", ":", "é", "\\u00e9", "日", " ", "\\n"];
        let parts: String = (0..self.below(9)).map(|_| parts[self.below(14) as usize]).collect();
        format!("\"{parts}\"")
    }

    fn value(&mut self, depth: u64) -> String {
        match self.below(if depth > 4 { 4 } else { 6 }) {
            0 => ["null", "true", "false"][self.below(3) as usize].to_owned(),
            1 => ["0", "-12", "1.5e3"][self.below(3) as usize].to_owned(),
            2 | 3 => self.text(),
            4 => self.array(depth + 1),
            _ => {
                let name = |it: &mut Self| format!("{}:{}", it.text(), it.value(depth + 1));
                let members: Vec<String> = (0..self.below(4)).map(|_| name(self)).collect();
                format!("{{{}}}", members.join(","))
            }
        }
    }

    fn array(&mut self, depth: u64) -> String {
        let count = self.below(5);
        let items: Vec<String> =
            (0..count).map(|_| format!("{}{}{}", self.space(), self.value(depth), self.space())).collect();
        format!("[{}]", items.join(","))
    }

    /// An object with its members in random order.
    fn object(&mut self) -> String {
        let mut members = vec![("state", self.array(1)), ("auth_chain", self.array(1)), ("event", self.value(1))];
        members.extend([("other", self.value(1)), ("origin", self.text()), ("states", self.array(1))]);
        for at in (1..members.len()).rev() {
            members.swap(at, self.below(at as u64 + 1) as usize);
        }
        members.truncate(self.below(7) as usize);
        let members: Vec<String> = members
            .into_iter()
            .map(|(name, value)| {
                format!("{}\"{name}\"{}:{}{value}{}", self.space(), self.space(), self.space(), self.space())
            })
            .collect();
        format!("{}{{{}{}}}{}", self.space(), members.join(","), self.space(), self.space())
    }
}

fn read(text: &[u8], numbers: &mut Numbers) -> Result<Vec<Piece>, PiecesError> {
    let mut reader = ObjectReader::new(WANTED);
    let mut found = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at((1 + numbers.below(20) as usize).min(rest.len()));
        reader.read(chunk, |piece| found.push(piece))?;
        rest = behind;
    }
    reader.finish().map(|()| found)
}

fn value(json: &[u8]) -> json::Value {
    json::Value::parse(std::str::from_utf8(json).unwrap()).unwrap()
}

/// The pieces are those of the whole parser, in any order of members and wherever chunks end.
#[test]
fn pieces_are_those_of_the_whole() {
    let mut numbers = Numbers(1);
    for _ in 0..3_000 {
        let text = numbers.object();
        let whole = Object::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let found = read(text.as_bytes(), &mut numbers).unwrap_or_else(|error| panic!("{text}: {error}"));
        for name in WANTED.elements_of {
            let elements: Vec<json::Value> = found
                .iter()
                .filter_map(|piece| match piece {
                    Piece::Element(of, json) if of == name => Some(value(json)),
                    _ => None,
                })
                .collect();
            let small = |element: &&json::Value| element.to_json().len() < 300;
            let expected = whole.get_array(name).unwrap_or_default();
            if expected.iter().all(|element| small(&element)) {
                assert_eq!(elements, expected, "{text}");
            }
        }
        for name in WANTED.members {
            let member = found.iter().find_map(|piece| match piece {
                Piece::Member(of, json) if of == name => Some(value(json)),
                _ => None,
            });
            assert_eq!(member.as_ref(), whole.get(name), "{text}");
        }
    }
}

/// Truncated text is never complete, and altered text neither panics nor hangs.
#[test]
fn broken_texts() {
    let mut numbers = Numbers(7);
    for _ in 0..1_000 {
        let text = numbers.object();
        let text = text.trim_end().as_bytes();
        let cut = numbers.below(text.len() as u64) as usize;
        assert!(read(&text[..cut], &mut numbers).is_err(), "{}", String::from_utf8_lossy(&text[..cut]));
        let mut changed = text.to_vec();
        let at = numbers.below(text.len() as u64) as usize;
        changed[at] = b"{}[]\",:\\ x\x00\xff"[numbers.below(12) as usize];
        drop(read(&changed, &mut numbers));
    }
    for text in
        ["", "[]", "{", "{}x", "{}{}", r#"{"state":{}}"#, r#"{"state":null}"#, r#"{"a":}"#, r#"{"a" 1}"#, r#"{,}"#]
    {
        assert!(read(text.as_bytes(), &mut numbers).is_err(), "{text}");
    }
    for text in [r#"{"state":[1,]}"#, r#"{"state":[,1]}"#, r#"{"a":1,}"#, r#"{"a":1 "b":2}"#, r#"{"state":[1 2]}"#] {
        assert!(read(text.as_bytes(), &mut numbers).is_err(), "{text}");
    }
}

#[test]
fn what_is_too_large() {
    let long = "x".repeat(500);
    let text = format!(r#"{{"{long}":1,"other":"{long}","state":["{long}",2,{{"a":["{long}"]}}]}}"#);
    let found = read(text.as_bytes(), &mut Numbers(3));
    assert_eq!(found, Ok(vec![Piece::Element("state", b"2".to_vec())]));
    let text = format!(r#"{{"origin":"{long}"}}"#);
    assert_eq!(read(text.as_bytes(), &mut Numbers(3)), Err(PiecesError::TooLarge("origin")));
    // At any depth, it is only counted.
    let deep = format!(r#"{{"other":{}{},"state":[1]}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(read(deep.as_bytes(), &mut Numbers(3)), Ok(vec![Piece::Element("state", b"1".to_vec())]));
}
