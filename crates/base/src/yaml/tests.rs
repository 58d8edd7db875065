use super::*;

fn json(text: &str) -> serde_json::Value {
    parse(text, 0).expect("valid YAML").to_json()
}

#[test]
fn plain_scalars_follow_yaml_1_1() {
    let cases = [
        ("yes", "true"),
        ("Off", "false"),
        ("y", "\"y\""),
        ("~", "null"),
        ("", "null"),
        ("12", "12"),
        ("-1_000", "-1000"),
        ("0660", "432"),
        ("0o660", "\"0o660\""),
        ("0x1F", "31"),
        ("0b101", "5"),
        ("1:30", "90"),
        ("0.5", "0.5"),
        (".5", "0.5"),
        ("1.0e+6", "1000000.0"),
        ("1e6", "\"1e6\""),
        ("1.0e6", "\"1.0e6\""),
        ("10.1.2.3", "\"10.1.2.3\""),
        ("::1", "\"::1\""),
        ("\"yes\"", "\"yes\""),
        ("'12'", "\"12\""),
        ("!!str 12", "\"12\""),
        ("089", "\"089\""),
        ("99999999999999999999", "\"99999999999999999999\""),
    ];
    for (yaml, expected) in cases {
        let expected: serde_json::Value = serde_json::from_str(expected).expect("valid JSON");
        assert_eq!(json(yaml), expected, "{yaml}");
    }
}

#[test]
fn nodes_know_their_lines() {
    let root = parse("a: 1\nb:\n  - x\n  - c: 2\n", 3).expect("valid YAML");
    let item = &root.get("b").expect("b").items()[1];
    assert_eq!(item.get("c").expect("c").place, Place { file: 3, line: 4 });
}

#[test]
fn merge_keys_give_way_to_own_keys() {
    let text = "base: &base {a: 1, b: 2}\nown:\n  b: 3\n  <<: *base\n";
    let root = parse(text, 0).expect("valid YAML");
    let own = root.get("own").expect("own");
    assert_eq!(own.get("a").and_then(Node::as_text), Some("1"));
    assert_eq!(own.get("b").and_then(Node::as_text), Some("3"));
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    let cases = [
        ("a: 1\nb: [", 2),
        ("a: 1\n---\nb: 2\n", 2),
        ("a: !include x\n", 1),
        ("a: &x\n  b: *x\n", 2),
        ("? [1]\n: 2\n", 1),
        ("a: 1\n<<: 5\n", 2),
    ];
    for (text, line) in cases {
        let error = parse(text, 0).expect_err(text);
        assert_eq!(error.line, line, "{text}: {error}");
    }
}

#[test]
fn alias_bombs_are_refused_before_they_are_built() {
    let mut wide = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    let mut deep = "a0: &a0 [x]\n".to_owned();
    for level in 1..100 {
        let before = level - 1;
        let alias = format!("*a{before}");
        let _ = writeln!(wide, "a{level}: &a{level} [{}]", [alias.as_str(); 10].join(", "));
        let _ = writeln!(deep, "a{level}: &a{level} [{alias}]");
    }
    let error = parse(&wide, 0).expect_err("too many nodes");
    assert!(error.message.contains("values"), "{error}");
    let error = parse(&deep, 0).expect_err("too deep");
    assert!(error.message.contains("deeper"), "{error}");
    parse(&"[".repeat(10_000), 0).expect_err("too deep");
}
