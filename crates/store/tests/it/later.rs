//! Statements that are sent ahead: their results are read later, and nothing that failed is reported as stored.

use plexus_store::{Change, DbError, Position, ToSql, Tx, first};
use plexus_testkit::databases;

fn create(tx: &mut Tx<'_>) -> Result<(), DbError> {
    tx.execute("CREATE TABLE notes (position BIGINT NOT NULL UNIQUE, note TEXT NOT NULL)", &[]).map(drop)
}

const INSERT: &str = "INSERT INTO notes (position, note) VALUES ($1, $2)";

fn notes(tx: &mut Tx<'_>) -> Result<Vec<String>, DbError> {
    tx.query("SELECT note FROM notes ORDER BY position", &[], first)
}

#[tokio::test]
async fn counts_are_returned_in_any_order_and_the_statements_are_seen_by_those_after_them() {
    for db in databases() {
        db.write(create).await.unwrap();
        let counts = db
            .write(|tx| {
                let one = tx.execute_later(INSERT, &[&1_i64, &"a"])?;
                let none = tx.insert_many_later(INSERT, std::iter::empty::<[plexus_store::Param<'_>; 2]>())?;
                let rows = [(2_i64, "b"), (3, "c"), (4, "d")];
                let three =
                    tx.insert_many_later(INSERT, rows.iter().map(|(at, text)| [at.to_param(), text.to_param()]))?;
                // Has no form for many rows: a statement each.
                let copy = "INSERT INTO notes (position, note) SELECT $1 + position, $2 FROM notes WHERE position = 1";
                let rows = [[10_i64.to_param(), "e".to_param()], [20_i64.to_param(), "f".to_param()]];
                let two = tx.insert_many_later(copy, rows)?;
                let seen = notes(tx)?;
                let last = tx.execute_later("DELETE FROM notes WHERE position > $1", &[&2_i64])?;
                let counts = [last, three, none, two, one];
                Ok::<_, DbError>((seen, counts.map(|later| tx.changed(later).unwrap())))
            })
            .await
            .unwrap();
        assert_eq!(counts, (["a", "b", "c", "d", "e", "f"].map(str::to_owned).to_vec(), [4, 3, 0, 2, 1]));
        assert_eq!(db.read(notes).await.unwrap(), ["a", "b"]);
    }
}

/// The position of a note whose statement nobody asks about.
fn forgotten(tx: &mut Tx<'_>, at: Position, note: &str) -> Result<Position, DbError> {
    let position = tx.next_position()?;
    tx.execute_later(INSERT, &[&at, &note])?;
    tx.announce(Change::Event { room: 1, position, outgoing: false });
    Ok(position)
}

#[tokio::test]
async fn a_failure_nobody_asked_about_is_reported_and_undoes_its_closure_alone() {
    for db in databases() {
        db.write(create).await.unwrap();
        // One by one, and together with neighbours.
        assert_eq!(db.write(|tx| forgotten(tx, 1, "first")).await.unwrap(), 1);
        let alone = db.write(|tx| forgotten(tx, 1, "twice")).await;
        assert!(alone.unwrap_err().is_unique_violation());
        let (before, failing, after) = tokio::join!(
            db.write(|tx| forgotten(tx, 2, "before")),
            db.write(|tx| {
                forgotten(tx, 3, "undone")?;
                forgotten(tx, 1, "twice")?;
                // PostgreSQL answers this with "the transaction is aborted": the cause must be reported.
                tx.execute_later(INSERT, &[&4_i64, &"undone too"]).map(drop)
            }),
            db.write(|tx| forgotten(tx, 5, "after")),
        );
        assert_eq!((before.unwrap(), after.unwrap()), (2, 3), "no position is lost");
        assert!(failing.unwrap_err().is_unique_violation());
        assert_eq!(db.read(notes).await.unwrap(), ["first", "before", "after"]);
        assert_eq!(db.committed(), 3);
    }
}

/// Notes whose rows must be there to be changed.
fn require(tx: &mut Tx<'_>, positions: &[Position]) -> Result<Position, DbError> {
    let position = tx.next_position()?;
    let sql = "UPDATE notes SET note = note || '!' WHERE position = $1";
    tx.change_each_later(sql, positions.iter().map(|at| [at.to_param()]))?;
    tx.announce(Change::Event { room: 1, position, outgoing: false });
    Ok(position)
}

#[tokio::test]
async fn a_closure_that_does_not_change_what_it_must_is_undone_alone() {
    for db in databases() {
        db.write(create).await.unwrap();
        for (at, note) in [(1, "a"), (2, "b"), (3, "c")] {
            db.write(move |tx| forgotten(tx, at, note)).await.unwrap();
        }
        for missing in [vec![9], vec![1, 9], vec![1, 2, 9]] {
            let alone = db.write(move |tx| require(tx, &missing)).await;
            assert!(matches!(alone, Err(DbError::Unchanged(sql)) if sql.starts_with("UPDATE notes")), "{alone:?}");
        }
        assert_eq!(db.write(|tx| require(tx, &[])).await.unwrap(), 4, "no position is lost");
        assert_eq!(db.write(|tx| require(tx, &[1])).await.unwrap(), 5);
        let (before, failing, after) = tokio::join!(
            db.write(|tx| require(tx, &[1, 2])),
            db.write(|tx| {
                require(tx, &[2, 9])?;
                forgotten(tx, 4, "undone")
            }),
            db.write(|tx| require(tx, &[3])),
        );
        assert_eq!((before.unwrap(), after.unwrap()), (6, 7));
        assert!(matches!(failing, Err(DbError::Unchanged(_))), "{failing:?}");
        assert_eq!(db.read(notes).await.unwrap(), ["a!!", "b!", "c!"]);
        assert_eq!(db.committed(), 7);
    }
}

#[tokio::test]
async fn what_was_learned_before_a_failure_can_still_be_asked() {
    for db in databases() {
        db.write(create).await.unwrap();
        db.write(|tx| forgotten(tx, 1, "first")).await.unwrap();
        let result = db
            .write(|tx| {
                let missed = tx.execute_later("UPDATE notes SET note = 'x' WHERE position = $1", &[&9_i64])?;
                let twice = tx.execute_later(INSERT, &[&1_i64, &"twice"])?;
                tx.execute_later(INSERT, &[&2_i64, &"not run, or not kept"])?;
                let missed = tx.changed(missed)?;
                let failed = tx.changed(twice).unwrap_err();
                assert!(failed.is_unique_violation(), "{failed}");
                let next = tx.execute(INSERT, &[&2_i64, &"after"]).unwrap_err();
                assert!(next.is_unique_violation(), "{next}");
                Err::<(), _>(DbError::bad_data("test", format!("{missed} rows")))
            })
            .await;
        assert!(matches!(&result, Err(DbError::BadData { problem, .. }) if problem == "0 rows"), "{result:?}");
        assert_eq!(db.read(notes).await.unwrap(), ["first"]);
    }
}

#[tokio::test]
async fn what_a_closure_that_fails_has_sent_is_no_concern_of_the_next() {
    for db in databases() {
        db.write(create).await.unwrap();
        db.write(|tx| forgotten(tx, 1, "first")).await.unwrap();
        for sql in [INSERT, "UPDATE notes SET note = $2 WHERE position = $1"] {
            let failed = db.write(move |tx| {
                tx.execute_later(sql, &[&1_i64, &"undone"])?;
                Err::<(), _>(DbError::bad_data("test", "it changed its mind"))
            });
            assert!(matches!(failed.await, Err(DbError::BadData { .. })));
            let changed = db.write(|tx| {
                let missed = tx.execute_later("UPDATE notes SET note = 'x' WHERE position = $1", &[&9_i64])?;
                tx.changed(missed)
            });
            assert_eq!(changed.await.unwrap(), 0);
        }
        assert_eq!(db.read(notes).await.unwrap(), ["first"]);
    }
}

#[tokio::test]
async fn more_than_is_sent_at_once_arrives() {
    for db in databases() {
        db.write(create).await.unwrap();
        let text = "x".repeat(100_000);
        db.write(move |tx| {
            for at in 0..40_i64 {
                tx.execute_later(INSERT, &[&at, &text])?;
            }
            Ok::<_, DbError>(())
        })
        .await
        .unwrap();
        let length = "SELECT SUM(LENGTH(note))::BIGINT FROM notes";
        let length =
            if db.backend() == plexus_store::Backend::Sqlite { "SELECT SUM(LENGTH(note)) FROM notes" } else { length };
        assert_eq!(db.read(move |tx| tx.query_one(length, &[], first::<i64>)).await.unwrap(), 4_000_000);
    }
}
