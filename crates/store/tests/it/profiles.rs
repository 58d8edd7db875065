//! Changes of profiles are read page by page.

use plexus_store::repo::profiles::{self, ChangePlace, ProfileField};
use plexus_store::{DbError, Tx};
use plexus_testkit::databases;

#[tokio::test]
async fn all_changes_are_read_whatever_the_pages() {
    for db in databases() {
        let set_all = async |fields: &'static [&'static str]| {
            let set = move |tx: &mut Tx<'_>| {
                for user in ["@a:x", "@b:x"] {
                    fields.iter().try_for_each(|field| profiles::set(tx, user, field, "1"))?;
                }
                Ok::<_, DbError>(())
            };
            db.db().write(set).await.unwrap();
        };
        set_all(&["org.example.before"]).await;
        let since = db.db().committed();
        set_all(&["org.example.one", "org.example.two", "org.example.three"]).await;
        // All fields of one position.
        db.db().write(|tx| profiles::erase(tx, "@a:x")).await.unwrap();
        let upto = db.db().committed();
        set_all(&["org.example.later"]).await;
        let read = async |names: Option<&'static [&'static str]>, limit: usize| {
            let (mut found, mut next) = (Vec::new(), Some(ChangePlace::after(since)));
            while let Some(after) = next {
                let (page, last) =
                    db.db().read(move |tx| profiles::changed(tx, names, &after, upto, limit)).await.unwrap();
                assert!(page.len() <= limit);
                found.extend(page);
                next = last;
            }
            found
        };
        let field = |user: &str, field: &str, value: Option<&str>| ProfileField {
            user_id: user.to_owned(),
            field: format!("org.example.{field}"),
            value: value.map(str::to_owned),
        };
        let mut all = read(None, 100).await;
        for limit in 1..=8 {
            assert_eq!(read(None, limit).await, all, "{limit} at once");
        }
        let mut named = read(Some(&["org.example.two"]), 1).await;
        named.sort_unstable_by(|a, b| a.user_id.cmp(&b.user_id));
        assert_eq!(named, [field("@a:x", "two", None), field("@b:x", "two", Some("1"))]);
        all.sort_unstable_by(|a, b| (&a.user_id, &a.field).cmp(&(&b.user_id, &b.field)));
        let removed = ["before", "one", "three", "two"].map(|name| field("@a:x", name, None));
        let set = ["one", "three", "two"].map(|name| field("@b:x", name, Some("1")));
        assert_eq!(all, [&removed[..], &set[..]].concat());
    }
}
