use super::{File, Kind, Source, closing};

fn file(text: &str) -> File {
    File { path: "crates/x/src/a.rs".into(), text: text.into() }
}

fn texts(text: &str) -> Vec<(Kind, String)> {
    let file = file(text);
    Source::new(&file).tokens.iter().map(|token| (token.kind, token.text.to_owned())).collect()
}

#[test]
fn strings_chars_and_lifetimes_are_distinguished() {
    let expected: Vec<(Kind, String)> = [
        (Kind::Str, r#"a \" b"#),
        (Kind::RawStr, r#"x " y"#),
        (Kind::Str, "z"),
        (Kind::Char, "{"),
        (Kind::Char, r"\'"),
        (Kind::Lifetime, "static"),
        (Kind::Ident, "type"),
        (Kind::Ident, "r"),
    ]
    .map(|(kind, text)| (kind, text.to_owned()))
    .into();
    assert_eq!(texts(r##""a \" b" r#"x " y"# b"z" '{' '\'' 'static r#type r"##), expected);
}

#[test]
fn comments_are_no_tokens() {
    let file = file("//! one\nfn a() {} /* two /* three */ */ // four // five\n/// \"six\nfn b() {}");
    let source = Source::new(&file);
    let comments: Vec<_> = source.comments.iter().map(|comment| (comment.line, comment.text)).collect();
    assert_eq!(comments, [(1, "one"), (2, "/* two /* three */ */"), (2, "four // five"), (3, "\"six")]);
    assert_eq!(source.tokens.last().map(|token| (token.line, token.text)), Some((4, "}")));
}

#[test]
fn a_string_over_several_lines_knows_its_last() {
    let file = file("x\n\"a\nb\"\ny");
    let source = Source::new(&file);
    let lines: Vec<_> = source.tokens.iter().map(|token| (token.line, token.last_line)).collect();
    assert_eq!(lines, [(1, 1), (2, 3), (4, 4)]);
}

#[test]
fn items_under_cfg_test_are_left_out() {
    let file = file("fn a() {} #[cfg(test)] mod tests { fn b() { c } } #[cfg(test)] use d::e; fn f() {}");
    let source = Source::new(&file);
    let idents: Vec<_> =
        source.tokens_without_tests().iter().filter(|token| token.is_ident()).map(|token| token.text).collect();
    assert_eq!(idents, ["fn", "a", "fn", "f"]);
}

#[test]
fn brackets_are_matched() {
    let file = file("f ( [ { } ] ) g");
    let source = Source::new(&file);
    assert_eq!(closing(&source.tokens, 1), 6);
}
