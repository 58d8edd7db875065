use super::*;

fn parsed(header: &str) -> XMatrix {
    XMatrix::parse(header).unwrap_or_else(|e| panic!("{header}: {e}"))
}

#[test]
fn lenient_forms_mean_the_same() {
    let expected = parsed(r#"X-Matrix origin="a.org:80",destination="b.org",key="ed25519:k1",sig="AbC/+""#);
    assert_eq!(expected.origin, "a.org:80");
    assert_eq!(expected.destination.as_ref().map(ServerName::as_str), Some("b.org"));
    assert_eq!((expected.key.as_str(), expected.signature.as_str()), ("ed25519:k1", "AbC/+"));
    for header in [
        r#"x-matrix   sig=AbC/+ , KEY=ed25519:k1,origin=a.org:80,destination=b.org"#,
        "X-MATRIX\torigin = \"a.org:80\"\t,\tdestination= b.org,key =\"ed25519:k1\",sig=\"AbC/+\"",
        r#"X-Matrix origin="a\.org:80",destination="b.org",key="ed25519\:k1",sig="AbC/+",extra="x,y=\"z",more=1"#,
        r#"X-Matrix ,,origin="a.org:80",,destination="b.org",key="ed25519:k1",sig="AbC/+","#,
    ] {
        assert_eq!(parsed(header), expected, "{header}");
    }
    assert_eq!(parsed(&expected.to_string()), expected);
}

#[test]
fn destination_is_optional() {
    let header = r#"X-Matrix origin="a.org",key="ed25519:k1",sig="AbC""#;
    assert_eq!(parsed(header).destination, None);
    assert_eq!(parsed(header).to_string(), header);
}

#[test]
fn refused() {
    let cases = [
        ("", XMatrixError::Scheme),
        ("Bearer abc", XMatrixError::Scheme),
        ("X-Matrixorigin=a", XMatrixError::Scheme),
        ("X-Matrix", XMatrixError::Scheme),
        ("X-Matrix ", XMatrixError::Missing("origin")),
        ("X-Matrix origin", XMatrixError::Syntax),
        ("X-Matrix origin=\"a", XMatrixError::Syntax),
        ("X-Matrix origin=\"a\\", XMatrixError::Syntax),
        ("X-Matrix origin=\"a\" key=b", XMatrixError::Syntax),
        ("X-Matrix ori gin=a", XMatrixError::Syntax),
        ("X-Matrix =a", XMatrixError::Syntax),
        ("X-Matrix origin=a,sig=b", XMatrixError::Missing("key")),
        ("X-Matrix origin=a,key=b", XMatrixError::Missing("sig")),
        ("X-Matrix origin=a,origin=b,key=k,sig=s", XMatrixError::Duplicate("origin")),
        ("X-Matrix origin=a_b,key=k,sig=s", XMatrixError::ServerName("origin", IdError::InvalidServerName)),
        ("X-Matrix origin=,key=k,sig=s", XMatrixError::ServerName("origin", IdError::Empty)),
    ];
    for (header, expected) in cases {
        assert_eq!(XMatrix::parse(header), Err(expected), "{header:?}");
    }
}

#[test]
fn signs_and_verifies() {
    let key = SigningKey::generate(&[7; 32], "a_test");
    let (origin, destination): (ServerName, ServerName) = ("a.org".parse().unwrap(), "b.org".parse().unwrap());
    let content = Value::parse(r#"{"b":1.50,"a":[]}"#).unwrap();
    let request = Request { method: "PUT", uri: "/_matrix/x?y=1", destination: &destination, content: Some(&content) };
    assert_eq!(
        request.signed_json(&origin),
        r#"{"content":{"a":[],"b":1.5},"destination":"b.org","method":"PUT","origin":"a.org","uri":"/_matrix/x?y=1"}"#
    );
    let header = parsed(&XMatrix::sign(&request, &origin, &key).to_string());
    assert!(header.verify(&request, &key.public_key()));
    assert!(!header.verify(&Request { method: "GET", ..request }, &key.public_key()));
    assert!(!header.verify(&Request { content: None, ..request }, &key.public_key()));
}
