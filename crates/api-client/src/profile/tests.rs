use super::{MAX_KEY, require_field_name, written};

fn errcode(field: &str) -> Option<String> {
    require_field_name(field).err().and_then(|error| error.errcode().map(str::to_owned))
}

#[test]
fn names_of_fields_follow_the_namespaced_grammar() {
    for field in ["displayname", "m.tz", "org.example.my-field_2", "a"] {
        assert_eq!(errcode(field), None, "{field}");
    }
    for field in ["", "Displayname", "2fast", "_x", ".x", "a b", "a/b", "a\u{0}", "é"] {
        assert_eq!(errcode(field).as_deref(), Some("M_INVALID_PARAM"), "{field:?}");
    }
}

#[test]
fn names_of_fields_have_a_greatest_length() {
    assert_eq!(errcode(&"a".repeat(MAX_KEY)), None);
    assert_eq!(errcode(&"a".repeat(MAX_KEY + 1)).as_deref(), Some("M_KEY_TOO_LARGE"));
}

#[test]
fn fields_are_written_as_one_object() {
    let text = |fields: &[(String, String)]| String::from_utf8_lossy(&written(fields).0).into_owned();
    let field = |name: &str, json: &str| (name.to_owned(), json.to_owned());
    assert_eq!(text(&[]), "{}");
    let fields = [field("displayname", "\"A\""), field("a\"b", "{\"c\":[1]}")];
    assert_eq!(text(&fields), r#"{"displayname":"A","a\"b":{"c":[1]}}"#);
}
