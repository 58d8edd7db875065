use super::*;

fn lax(json: &str) -> String {
    Value::parse(json).unwrap_or_else(|e| panic!("{json}: {e}")).to_json()
}

/// The [examples of the specification](https://spec.matrix.org/v1.19/appendices/#examples). Its last one also turns
/// `1e10` into an integer; Synapse and ruma refuse the float, which is what room versions 6 and later require.
#[test]
fn specification_examples() {
    for (json, expected) in [
        ("{}", "{}"),
        (r#"{ "one": 1, "two": "Two" }"#, r#"{"one":1,"two":"Two"}"#),
        (r#"{"b":"2","a":"1"}"#, r#"{"a":"1","b":"2"}"#),
        (
            r#"{"auth":{"success":true,"mxid":"@john.doe:example.com","profile":{"display_name":"John Doe","three_pids":
                [{"medium":"email","address":"john.doe@example.org"},{"medium":"msisdn","address":"123456789"}]}}}"#,
            r#"{"auth":{"mxid":"@john.doe:example.com","profile":{"display_name":"John Doe","three_pids":[{"address":"john.doe@example.org","medium":"email"},{"address":"123456789","medium":"msisdn"}]},"success":true}}"#,
        ),
        (r#"{"a":"日本語"}"#, r#"{"a":"日本語"}"#),
        (r#"{"本":2,"日":1}"#, r#"{"日":1,"本":2}"#),
        (r#"{"a":"\u65E5"}"#, r#"{"a":"日"}"#),
        (r#"{"a":null}"#, r#"{"a":null}"#),
        (r#"{"a":-0}"#, r#"{"a":0}"#),
    ] {
        assert_eq!(Object::parse(json).unwrap().to_canonical_json().unwrap(), expected);
    }
    assert!(Value::parse("1e10").unwrap().to_canonical_json().is_err());
}

#[test]
fn canonical_numbers_have_53_bits() {
    for (number, canonical) in [
        ("9007199254740991", true),
        ("-9007199254740991", true),
        ("9007199254740992", false),
        ("-9007199254740992", false),
        ("9223372036854775808", false),
        ("0", true),
        ("-0", true),
        ("1.0", false),
        ("0.0", false),
        ("1e2", false),
    ] {
        assert_eq!(Value::parse(number).unwrap().to_canonical_json().is_ok(), canonical, "{number}");
        let nested = format!(r#"{{"a":[{{"b":{number}}}]}}"#);
        assert_eq!(Value::parse(&nested).unwrap().to_canonical_json().is_ok(), canonical, "{nested}");
    }
}

/// Numbers as Python's `json.dumps(json.loads(x))` writes them.
#[test]
fn early_room_versions_write_numbers_as_python() {
    for (json, expected) in [
        ("1", "1"),
        ("-1", "-1"),
        ("-0", "0"),
        ("9223372036854775807", "9223372036854775807"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("9223372036854775808", "9223372036854775808"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("1.0", "1.0"),
        ("1.50", "1.5"),
        ("-0.0", "-0.0"),
        ("0.1", "0.1"),
        ("1e2", "100.0"),
        ("1E+2", "100.0"),
        ("1e15", "1000000000000000.0"),
        ("1e16", "1e+16"),
        ("1.5e16", "1.5e+16"),
        ("123456789012345680.0", "1.2345678901234568e+17"),
        ("0.0001", "0.0001"),
        ("0.00001", "1e-05"),
        ("1.25e-7", "1.25e-07"),
        ("1e100", "1e+100"),
        ("5e-324", "5e-324"),
        ("-7.9544498901719325e+14", "-795444989017193.2"),
        ("96134048182981.125", "96134048182981.12"),
        ("9007199254740993.0", "9007199254740992.0"),
        ("-0.00012", "-0.00012"),
        ("1.7976931348623157e308", "1.7976931348623157e+308"),
        ("2.2250738585072014e-308", "2.2250738585072014e-308"),
        ("1e400", "1e400"),
    ] {
        assert_eq!(lax(json), expected, "{json}");
        assert_eq!(lax(expected), expected);
    }
}

#[test]
fn strings() {
    assert_eq!(
        lax(r#""\u0000\u001f\b\t\n\f\r\"\\\/\u007f\ud83d\ude00é""#),
        "\"\\u0000\\u001f\\b\\t\\n\\f\\r\\\"\\\\/\u{7f}😀é\""
    );
    assert_eq!(lax(r#""""#), r#""""#);
    for json in
        [r#""\ud800""#, r#""\udc00""#, r#""\ud800x""#, r#""\ud800\n""#, r#""\ud800\ud800""#, r#""\udc00\ud800""#]
    {
        assert!(matches!(Value::parse(json), Err(ParseError::LoneSurrogate(_))), "{json}");
    }
    for json in ["\"a\nb\"", "\"\t\"", r#""\x""#, r#""\u12""#, r#""\u12g4""#, r#"""#, r#""\"#, r#""\""#] {
        assert!(Value::parse(json).is_err(), "{json}");
    }
}

#[test]
fn not_json() {
    for json in [
        "",
        " ",
        "{",
        "}",
        "[",
        "[1",
        "[1,]",
        "[,1]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "{'a':1}",
        "01",
        "-",
        "+1",
        ".5",
        "1.",
        "1e",
        "1e+",
        "0x1",
        "NaN",
        "Infinity",
        "-Infinity",
        "tru",
        "nul",
        "truex",
        "1 2",
        "[] []",
        "{\"a\":1 \"b\":2}",
        "\u{feff}{}",
        "{\"a\":1}x",
        "[1}",
        "{\"a\":[}",
        "/**/1",
        "\u{a0}1",
    ] {
        assert!(Value::parse(json).is_err(), "{json:?}");
    }
    assert_eq!(Object::parse("[]"), Err(ParseError::NotAnObject));
}

#[test]
fn last_of_duplicate_keys_wins() {
    let object = Object::parse(r#"{"b":1,"a":1,"b":2,"a":[],"b":3,"\u0062":4}"#).unwrap();
    assert_eq!(object.to_json(), r#"{"a":[],"b":4}"#);
    assert_eq!(object.len(), 2);
}

#[test]
fn keys_sort_by_code_point() {
    // UTF-16 order, which some encoders use, would put the emoji first.
    assert_eq!(
        lax("{\"\u{ff5e}\":1,\"😀\":2,\"é\":3,\"z\":4,\"\":5}"),
        "{\"\":5,\"z\":4,\"é\":3,\"\u{ff5e}\":1,\"😀\":2}"
    );
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize, open: &str, close: &str| open.repeat(depth) + "1" + &close.repeat(depth);
    assert!(Value::parse(&nested(MAX_NESTING, "[", "]")).is_ok());
    assert!(Value::parse(&nested(MAX_NESTING, "{\"a\":", "}")).is_ok());
    assert_eq!(Value::parse(&nested(MAX_NESTING + 1, "[", "]")), Err(ParseError::TooDeep));
    assert_eq!(Value::parse(&nested(MAX_NESTING + 1, "{\"a\":", "}")), Err(ParseError::TooDeep));
    assert_eq!(Value::parse(&"[".repeat(1_000_000)), Err(ParseError::TooDeep));
    assert_eq!(Value::parse(&"{\"a\":[".repeat(100_000)), Err(ParseError::TooDeep));
    // Walking over text that was parsed before needs no stack, however deep it is.
    let text = format!("{{\"a\":{}}}", nested(1_000_000, "[", "]"));
    assert_eq!(top_level(&text).count(), 1);
}

#[test]
fn what_is_passed_on_can_be_read_by_others() {
    let nested = |depth: usize| format!("{{\"a\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
    for good in ["{}", r#"{"a":[1,-9007199254740991,"1e999",null,true]}"#, &nested(MAX_PORTABLE_NESTING - 1)] {
        assert!(Object::parse_portable(good).is_ok(), "{good}");
    }
    for number in ["1.5", "1e3", "1e999", "9007199254740992", &"9".repeat(5_000)] {
        let json = format!(r#"{{"a":[{{"b":{number}}}]}}"#);
        assert!(matches!(Object::parse_portable(&json), Err(NotPortable::Number(_))), "{number}");
        let is_finite = number.len() < 20 && number != "1e999";
        assert_eq!(Object::parse(&json).unwrap().check_readable().is_ok(), is_finite, "{number}");
    }
    assert_eq!(Object::parse_portable(&nested(MAX_PORTABLE_NESTING)), Err(NotPortable::TooDeep));
    assert_eq!(Object::parse_portable(&nested(MAX_NESTING)), Err(NotPortable::Json(ParseError::TooDeep)));
    assert_eq!(Object::parse_portable("[]"), Err(NotPortable::Json(ParseError::NotAnObject)));
    // However long a number is, the message about it is short.
    let Err(error) = Object::parse_portable(&format!(r#"{{"a":{}}}"#, "9".repeat(5_000))) else { panic!() };
    assert!(error.to_string().len() < 120, "{error}");
}

/// Thread stacks have two megabytes: parsing, writing, cloning and dropping the deepest value must need only a
/// fraction.
#[test]
fn deepest_value_needs_little_stack() {
    let json = "{\"a\":[".repeat(MAX_NESTING / 2) + &"]}".repeat(MAX_NESTING / 2);
    let work = move || {
        let value = Value::parse(&json).unwrap();
        assert_eq!(value.to_canonical_json().unwrap(), json);
    };
    std::thread::Builder::new().stack_size(1 << 20).spawn(work).unwrap().join().unwrap();
}

#[test]
fn objects() {
    let mut object = Object::from([("b", Value::from(1)), ("a", "x".into())]);
    assert_eq!(object.insert("c", true), None);
    assert_eq!(object.insert("b", 2), Some(Value::from(1)));
    assert_eq!(object.to_json(), r#"{"a":"x","b":2,"c":true}"#);
    assert_eq!((object.get_str("a"), object.get_i64("b"), object.get_bool("c")), (Some("x"), Some(2), Some(true)));
    assert_eq!((object.get_str("b"), object.get("d")), (None, None));
    assert_eq!(object.remove("a"), Some("x".into()));
    object.retain(|key, _| key == "c");
    assert_eq!(object.keys().collect::<Vec<_>>(), ["c"]);
}

#[test]
fn top_level_members() {
    let text = r#"{"a\"b":"x\\","c":{"d":[1,"}"]},"e":-1.5,"f":[],"g":null}"#;
    let members: Vec<_> = top_level(text).map(|f| (f.key, f.value)).collect();
    assert_eq!(
        members,
        [(r#"a\"b"#, r#""x\\""#), ("c", r#"{"d":[1,"}"]}"#), ("e", "-1.5"), ("f", "[]"), ("g", "null")]
    );
    assert_eq!(top_level(text).map(|f| f.member).collect::<Vec<_>>().join(","), text[1..text.len() - 1]);
    assert_eq!(top_level("{}").count(), 0);
    for broken in ["", "{", "{\"a", "{\"a\"", "{\"a\":", "{\"a\":1", "[1]", "x", "{\"a\\"] {
        top_level(broken).count();
    }
}

#[test]
fn serde_keeps_numbers_as_written() {
    let json = r#"{"a":[1.50,123456789012345678901234567890,-1,1e400],"b":{"c":null,"d":"é"}}"#;
    let value = Value::parse(json).unwrap();
    assert_eq!(serde_json::to_string(&value).unwrap(), json);
    #[derive(serde::Deserialize)]
    struct Body {
        content: Object,
    }
    let body: Body = serde_json::from_str(r#"{"content":{"b":1.5,"a":[18446744073709551615,null]}}"#).unwrap();
    assert_eq!(body.content.to_json(), r#"{"a":[18446744073709551615,null],"b":1.5}"#);
    assert_eq!(Object::from_serialize(&body.content).unwrap(), body.content);
    let error = serde_json::from_str::<Object>("[]").unwrap_err().to_string();
    assert!(error.contains("expected a JSON object"), "{error}");
    assert_eq!(
        value.as_object().unwrap().get_object("b").unwrap().deserialize_into::<serde_json::Value>().unwrap()["d"],
        "é"
    );
}

#[test]
fn special_characters_are_found_anywhere() {
    for length in 0..40 {
        for at in 0..length {
            for special in [b'"', b'\\', 0, 0x1f, b'\n'] {
                for filler in [b'x', b' ', b'!', b'#', b'[', b']', 0x7f, 0x80, 0xff, 0xa2, 0xdc] {
                    let mut bytes = vec![filler; length];
                    assert_eq!(write::find_special(&bytes), None);
                    bytes[at] = special;
                    assert_eq!(write::find_special(&bytes), Some(at), "{bytes:?}");
                    bytes[length - 1] = special;
                    assert_eq!(write::find_special(&bytes), Some(at));
                }
            }
        }
    }
}

/// Text that is called canonical is not written again, so it must be exactly what would be written.
#[test]
fn canonical_text_is_recognised() {
    for (json, canonical) in [
        (r#"{"a":1,"b":[true,null,"é"],"c":{"d":-5}}"#, true),
        ("{}", true),
        (r#"{"b":1,"a":2}"#, false),
        (r#"{"a":1,"a":2}"#, false),
        (r#"{"x":{"b":1,"a":2}}"#, false),
        (r#"{"a": 1}"#, false),
        ("{\"a\":1}\n", false),
        (" {}", false),
        ("{ }", false),
        (r#"{"a":[ ]}"#, false),
        (r#"{"a":1.0}"#, false),
        (r#"{"a":-0}"#, false),
        (r#"{"a":"\u0041"}"#, false),
        (r#"{"\u0041":1}"#, false),
    ] {
        let (object, known) = Object::parse_with_form(json).unwrap();
        assert_eq!(known, canonical, "{json}");
        assert!(!known || object.to_json() == json);
    }
}

/// Numbers and what Python 3's `json.dumps(json.loads(number))` makes of them, including ties and values next to powers
/// of two.
#[test]
fn numbers_agree_with_python() {
    for line in include_str!("../../tests/fixtures/python_numbers.tsv").lines() {
        let (number, expected) = line.split_once('\t').unwrap();
        assert_eq!(lax(number), expected, "{number}");
    }
}

fn streamed(json: &str) -> Result<String, ParseError> {
    let mut out = String::from("before");
    write_canonical(json, &mut out).map(|()| out.strip_prefix("before").expect("it is appended").to_owned())
}

#[test]
fn text_is_canonicalized_without_a_tree_as_with_one() {
    let mut nested = String::from("1");
    for level in 0..100 {
        nested = format!(r#"{{"b":{level},"a":{nested},"c":[{level}]}}"#);
    }
    let texts = [
        "{}",
        " { } ",
        "{\"a\":1}",
        r#"{"b":1,"a":2}"#,
        r#"{"b":1,"a":2,"b":[3, {"z":1,"y":{}}]}"#,
        r#"{"\u0062":"\u0041\n\"\u0001","a":-0,"\\":1.50,"\"":1e400,"":[[],[null,true , false]]}"#,
        r#"{"a":{"c":1,"b":2},"a":1}"#,
        r#"{"a":1,"a":2,"a":3}"#,
        r#"{"\ud83d\ude00":1,"\uffff":2,"z":3}"#,
        &nested,
        "",
        "[]",
        "null",
        "{",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{\"a\":01}",
        "{\"a\":\"\\ud800\"}",
        "{} x",
        "{\"a\":[1,]}",
        "{\"a\":tru}",
        "{\"a\" 1}",
        "{1:1}",
        "[",
    ];
    for text in texts {
        assert_eq!(streamed(text), Object::parse(text).map(|object| object.to_json()), "{text}");
    }
    for depth in [MAX_NESTING - 1, MAX_NESTING, MAX_NESTING + 1] {
        let text = format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(streamed(&text), Object::parse(&text).map(|object| object.to_json()), "{depth}");
    }
}

#[test]
fn a_long_text_in_great_disorder_is_refused_instead_of_made_a_tree() {
    let disordered = |levels: usize, length: usize| {
        let inner = format!("[{}1]", "1,".repeat(length / 2));
        (0..levels).fold(inner, |inner, _| format!(r#"{{"b":{inner},"a":1}}"#))
    };
    assert_eq!(streamed(&disordered(20, 300 * 1024)), Err(ParseError::OutOfOrder));
    for text in [disordered(20, 200 * 1024), disordered(12, 300 * 1024)] {
        assert_eq!(streamed(&text), Object::parse(&text).map(|object| object.to_json()));
    }
}
