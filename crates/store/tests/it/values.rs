//! What goes in comes out again, the same on both databases.

use plexus_store::{Any, Backend, Blame, DbError, ToSql, Tx, first};
use plexus_testkit::databases;

fn create(tx: &mut Tx<'_>) -> Result<(), DbError> {
    tx.execute("CREATE TABLE things (nid BIGINT NOT NULL PRIMARY KEY, name TEXT UNIQUE, data BYTEA)", &[])?;
    Ok(())
}

#[tokio::test]
async fn values_survive() {
    for db in databases() {
        let (flag, name, data) = db
            .write(|tx| {
                create(tx)?;
                tx.execute(
                    "INSERT INTO things (data, name, nid) VALUES ($3, $2, $1)",
                    &[&u64::from(true), &Some("żółw 🐢"), &vec![0_u8, 255]],
                )?;
                tx.query_one("SELECT nid, name, data FROM things WHERE nid = $1", &[&true], |row| {
                    Ok::<_, DbError>((row.get::<bool>(0)?, row.get::<String>(1)?, row.get::<Vec<u8>>(2)?))
                })
            })
            .await
            .unwrap();
        assert_eq!((flag, name.as_str(), data.as_slice()), (true, "żółw 🐢", &[0_u8, 255][..]));
        let none = db
            .write(|tx| {
                tx.execute("INSERT INTO things (nid, name) VALUES ($1, $2)", &[&2, &None::<&str>])?;
                tx.query_opt("SELECT name FROM things WHERE nid = 2", &[], first::<Option<String>>)
            })
            .await
            .unwrap();
        assert_eq!(none, Some(None));
    }
}

#[tokio::test]
async fn many_rows_and_lists() {
    for db in databases() {
        db.write(create).await.unwrap();
        let inserted = db
            .write(|tx| {
                let names: Vec<String> = (0..500).map(|number| format!("name {number}")).collect();
                tx.insert_many(
                    "INSERT INTO things (nid, name, data) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                    names.iter().zip(1_i64..).map(|(name, nid)| {
                        [plexus_store::Param::Int(nid), name.to_param(), name.as_bytes().to_param()]
                    }),
                )
            })
            .await
            .unwrap();
        assert_eq!(inserted, 500);
        let found = db
            .write(|tx| {
                tx.insert_many_returning(
                    "INSERT INTO things (nid, name) VALUES ($1, lower($2)) ON CONFLICT DO NOTHING RETURNING nid",
                    [[1_i64.to_param(), "x".to_param()], [1001_i64.to_param(), "Y".to_param()]],
                    first::<i64>,
                )
            })
            .await
            .unwrap();
        assert_eq!(found, [1001]);
        let changed = db
            .write(|tx| {
                tx.insert_many(
                    "UPDATE things SET name = $2 WHERE nid = $1",
                    [[1_i64.to_param(), "a".to_param()], [2_i64.to_param(), "b".to_param()]],
                )
            })
            .await
            .unwrap();
        assert_eq!(changed, 2);
        let lists = db
            .read(|tx| {
                let numbers = tx.query(
                    "SELECT nid FROM things WHERE nid = ANY($1) AND nid > $2 ORDER BY nid",
                    &[&Any(&[3_i64, 1, 7, 9999]), &1],
                    first::<i64>,
                )?;
                let texts = tx.query(
                    "SELECT nid FROM things WHERE name = ANY($1) ORDER BY nid",
                    &[&Any(&["y", "b"])],
                    first::<i64>,
                )?;
                let bytes = tx.query(
                    "SELECT nid FROM things WHERE data = ANY($1) ORDER BY nid",
                    &[&Any(&[b"name 4".to_vec()])],
                    first::<i64>,
                )?;
                let nothing =
                    tx.query("SELECT nid FROM things WHERE nid = ANY($1)", &[&Any::<i64>(&[])], first::<i64>)?;
                Ok::<_, DbError>((numbers, texts, bytes, nothing))
            })
            .await
            .unwrap();
        assert_eq!(lists, (vec![3, 7], vec![2, 1001], vec![5], vec![]));
    }
}

#[tokio::test]
async fn errors_name_their_place() {
    for db in databases() {
        db.write(create).await.unwrap();
        db.write(|tx| tx.execute("INSERT INTO things (nid, name) VALUES (1, 'x')", &[])).await.unwrap();
        let error = db
            .read(|tx| tx.query_one("SELECT nid, name FROM things", &[], |row| row.get::<i64>(1)))
            .await
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "column \"name\" (number 1): expected a number, found text; in: SELECT nid, name FROM things"
        );
        for (value, problem) in [(&"a\0b" as &(dyn ToSql + Sync), "U+0000"), (&u64::MAX, "63 bits")] {
            let error = db
                .read(move |tx| {
                    // A column of each type, so that the value's own problem is what is found.
                    match value.to_param() {
                        plexus_store::Param::Text(_) => {
                            tx.query("SELECT nid FROM things WHERE name = $1", &[&value], first::<i64>)
                        }
                        _ => tx.query("SELECT nid FROM things WHERE nid = $1", &[&value], first::<i64>),
                    }
                })
                .await
                .unwrap_err()
                .to_string();
            assert!(error.contains(problem) && error.contains("SELECT nid"), "{error}");
        }
        let error = db.read(|tx| tx.query_one("SELECT nid FROM things WHERE nid = 5", &[], first::<i64>)).await;
        assert!(matches!(error, Err(DbError::RowCount { found: 0, .. })));
    }
}

#[tokio::test]
async fn a_full_disk_is_not_the_fault_of_what_is_written() {
    for db in databases().into_iter().filter(|db| db.backend() == Backend::Sqlite) {
        let fill = |tx: &mut Tx<'_>| {
            tx.execute("CREATE TABLE filled (bytes BYTEA)", &[])?;
            let _pages: i64 = tx.query_one("PRAGMA max_page_count = 1", &[], first)?;
            tx.execute("INSERT INTO filled VALUES ($1)", &[&vec![7_u8; 1 << 20]])
        };
        let full: DbError = db.write(fill).await.unwrap_err();
        assert!(matches!(full, DbError::Statement { blame: Blame::Database, .. }) && !full.is_of_one(), "{full:?}");
    }
}

#[tokio::test]
async fn an_error_says_whether_the_data_is_at_fault() {
    for db in databases() {
        let make = "CREATE TABLE unique_names (name TEXT PRIMARY KEY)";
        db.write::<_, DbError, _>(move |tx| tx.execute(make, &[])).await.unwrap();
        let insert = "INSERT INTO unique_names VALUES ('a')";
        let twice = move |tx: &mut Tx<'_>| tx.execute(insert, &[]).and_then(|_| tx.execute(insert, &[]));
        let duplicate: DbError = db.write(twice).await.unwrap_err();
        assert!(duplicate.is_of_data() && duplicate.is_of_one(), "{duplicate:?}");
        let no_table = |tx: &mut Tx<'_>| tx.execute("INSERT INTO no_such_table VALUES (1)", &[]);
        let unknown: DbError = db.write(no_table).await.unwrap_err();
        assert!(!unknown.is_of_data() && unknown.is_of_one(), "{unknown:?}");
        let become_read_only = match db.backend() {
            Backend::Sqlite => "PRAGMA query_only = 1",
            Backend::Postgres => "SET TRANSACTION READ ONLY",
        };
        let write = move |tx: &mut Tx<'_>| tx.execute(become_read_only, &[]).and_then(|_| tx.execute(insert, &[]));
        let read_only: DbError = db.write(write).await.unwrap_err();
        assert!(!read_only.is_of_data() && !read_only.is_of_one(), "{read_only:?}");
    }
}
