use std::fs;

use super::*;

/// Files in a folder of their own, which is removed on drop.
struct Files(PathBuf);

impl Files {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("plexus-appservices-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn add(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const IRC: &str = r#"
id: irc
url: "http://127.0.0.1:9999/"
as_token: from-irc
hs_token: to-irc
sender_localpart: ircbot
rate_limited: false
protocols: [irc]
receive_ephemeral: true
de.sorunome.msc2409.push_ephemeral: true
org.matrix.msc3202: true
io.element.msc4190: true
heisenbridge: {owner: somebody}
namespaces:
  users:
    - {regex: '@irc_.*', exclusive: true}
    - {regex: '@shared_[0-9]+:example\.org$', exclusive: false}
  aliases: [{regex: '#irc_', exclusive: true}]
  rooms: [{regex: '!irc', exclusive: false}]
"#;

const OTHER: &str = r#"
id: other
url: null
as_token: from-other
hs_token: to-other
sender_localpart: other
namespaces: {users: [{regex: '@irc_also_.*', exclusive: true}]}
"#;

#[test]
fn registrations_are_read_whole() {
    let files = Files::new("whole");
    let paths = [files.add("irc.yaml", IRC), files.add("other.yaml", OTHER)];
    let all = Registrations::load(&paths, "example.org").unwrap();
    let irc = all.by_as_token("from-irc").unwrap();
    assert_eq!(irc.url.as_deref(), Some("http://127.0.0.1:9999"));
    assert_eq!((irc.sender.as_str(), irc.hs_token.expose()), ("@ircbot:example.org", "to-irc"));
    assert!(!irc.rate_limited && irc.receive_ephemeral && irc.push_ephemeral && irc.msc3202 && irc.msc4190);
    assert_eq!(irc.protocols, ["irc"]);
    let other = all.by_id("other").unwrap();
    assert!(other.url.is_none() && other.rate_limited && !other.gets_ephemeral() && !other.msc4190);
    assert!(all.by_as_token("to-irc").is_none());
}

#[test]
fn names_belong_to_the_services_that_claim_them() {
    let files = Files::new("names");
    let paths = [files.add("irc.yaml", IRC), files.add("other.yaml", OTHER)];
    let all = Registrations::load(&paths, "example.org").unwrap();
    assert_eq!(all.of_user("@irc_bob:example.org"), [0]);
    assert_eq!(all.of_user("@irc_also_bob:example.org"), [0, 1]);
    assert_eq!(all.of_user("@ircbot:example.org"), [0]);
    assert_eq!(all.of_user("@alice:example.org"), Vec::<usize>::new());
    assert_eq!(all.of_user("x@irc_bob:example.org"), Vec::<usize>::new());
    assert_eq!((all.of_alias("#irc_x:example.org"), all.of_room("!irc:example.org")), (vec![0], vec![0]));
    assert!(all.is_user_reserved("@irc_bob:example.org", None));
    assert!(!all.is_user_reserved("@irc_bob:example.org", Some("irc")));
    assert!(all.is_user_reserved("@irc_also_bob:example.org", Some("irc")));
    assert!(!all.is_user_reserved("@shared_1:example.org", None));
    // The own user is, though it is in no namespace.
    assert!(all.is_user_reserved("@ircbot:example.org", Some("other")));
    assert!(!all.is_user_reserved("@ircbot:example.org", Some("irc")));
    assert!(all.is_alias_reserved("#irc_x:example.org", Some("other")));
}

#[test]
fn mistakes_are_named_with_file_and_line() {
    let files = Files::new("mistakes");
    let of = |text: &str| {
        let path = files.add("bad.yaml", text);
        let problems = Registrations::load(&[path], "example.org").unwrap_err();
        problems.iter().map(|problem| format!("{}: {}: {}", problem.line, problem.option, problem.message)).collect()
    };
    let all: Vec<String> = of("id: a|b\nas_token: 5\nsender_localpart: a b\nnamespaces: []\nio.element.msc4190: 1\n");
    for expected in ["1: id: ", "2: as_token: ", "3: sender_localpart: ", "4: namespaces: ", "5: io.element.msc4190: "]
    {
        assert!(all.iter().any(|problem| problem.starts_with(expected)), "{expected} in {all:?}");
    }
    for missing in ["hs_token: missing", "url: missing"] {
        assert!(all.iter().any(|problem| problem.contains(missing)), "{missing} in {all:?}");
    }
    assert!(!all.iter().any(|problem| problem.contains('5') && problem.contains("number 5")), "{all:?}");
    let whole = IRC.replace("@irc_.*", "@irc_(?!admin).*");
    let all: Vec<String> = of(&whole);
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(all[0].starts_with("16: namespaces.users[0].regex: ") && all[0].contains("look-around"), "{all:?}");
    let all: Vec<String> = of(&IRC.replace("ircbot", &"b".repeat(255)));
    assert!(all.len() == 1 && all[0].starts_with("6: sender_localpart: "), "{all:?}");
    assert!(of("- a list").iter().any(|problem: &String| problem.contains("a list of 1")));
    assert!(of("a: [").len() == 1);
    let missing = Registrations::load(&[files.0.join("absent.yaml")], "example.org").unwrap_err();
    assert!(missing[0].to_string().contains("absent.yaml: cannot be read"));
}

#[test]
fn ids_and_tokens_are_unique() {
    let files = Files::new("unique");
    let again = OTHER.replace("sender_localpart: other", "sender_localpart: again");
    let paths = [files.add("one.yaml", OTHER), files.add("two.yaml", &again)];
    let problems = Registrations::load(&paths, "example.org").unwrap_err();
    let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(texts[0].contains("two.yaml:2: id: ") && texts[0].contains("one.yaml"), "{texts:?}");
    assert!(texts[1].contains("two.yaml:4: as_token: ") && !texts[1].contains("from-other"), "{texts:?}");
}

#[test]
fn services_are_replaced() {
    let services = AppServices::default();
    assert!(services.current().is_none() && !services.is_user_reserved("@irc_bob:example.org", None));
    let files = Files::new("replaced");
    services.replace(Registrations::load(&[files.add("irc.yaml", IRC)], "example.org").unwrap());
    assert!(services.is_user_reserved("@irc_bob:example.org", None));
    assert!(services.is_alias_reserved("#irc_x:example.org", None));
    services.replace(Registrations::default());
    assert!(services.current().is_none());
}
