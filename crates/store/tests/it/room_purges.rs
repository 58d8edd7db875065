//! Purging a room deletes its rows from every table.

use plexus_store::repo::room_purges;
use plexus_store::{Backend, Database, RoomNid, maintenance};
use plexus_testkit::databases;

const ROOM: RoomNid = 7;
const ROOM_ID: &str = "!gone:a.example";

/// The columns that say that a row belongs to a room, and how they name it.
const ROOM_COLUMNS: [(&str, &str); 4] =
    [("room_nid", "7"), ("room_id", "'!gone:a.example'"), ("event_nid", "70"), ("redaction_nid", "70")];

/// Tables whose rows a purge keeps, and why.
const KEPT: [(&str, &str); 4] = [
    ("blocked_rooms", "the room stays blocked"),
    ("delayed_events", "its owner learns why it is not sent when it is due; ended ones are deleted by age"),
    ("key_backup_sessions", "the backup is the user's, who may have the messages elsewhere"),
    ("other_changes", "followers learn of the deletion; rows are deleted by age"),
];

#[tokio::test]
async fn every_row_of_a_room_is_deleted() {
    for db in databases() {
        let backend = db.backend();
        let tables: Vec<String> =
            maintenance::stats(db.place().options()).unwrap().iter().map(|table| table.table.clone()).collect();
        let mut of_rooms = Vec::new();
        for table in tables {
            let columns = columns(&db, &table).await;
            let marks = ROOM_COLUMNS.iter().filter(|(name, _)| columns.iter().any(|(column, _)| column == name));
            let condition: Vec<String> = marks.map(|(name, value)| format!("{name} = {value}")).collect();
            if !condition.is_empty() {
                insert(&db, backend, &table, &columns).await;
                of_rooms.push((table, condition.join(" OR ")));
            }
        }
        assert!(of_rooms.len() > 25, "tables are found by their columns: {of_rooms:?}");
        execute(&db, "INSERT INTO user_ids (user_nid, user_id) VALUES (5, '@a:a.example')".to_owned()).await;

        purge(&db).await;
        for (table, condition) in of_rooms {
            let count: &str = format!("SELECT COUNT(*) FROM {table} WHERE {condition}").leak();
            let left = db.read(move |tx| tx.query_one(count, &[], |row| row.get::<i64>(0))).await.unwrap();
            let is_kept = KEPT.iter().any(|(kept, _)| *kept == table);
            assert_eq!(left > 0, is_kept, "{backend:?}: {left} rows of {table} are left");
        }
    }
}

/// Does what the task does.
async fn purge(db: &Database) {
    assert!(db.write(|tx| room_purges::delete_room(tx, ROOM, 1)).await.unwrap());
    for table in room_purges::room_tables() {
        assert!(!db.write(move |tx| room_purges::delete_rows(tx, ROOM, table)).await.unwrap());
    }
    let snapshots = db.read(|tx| room_purges::snapshots(tx, ROOM, 0)).await.unwrap();
    db.write(move |tx| room_purges::delete_snapshots(tx, &snapshots)).await.unwrap();
    let members = db.read(|tx| room_purges::members(tx, ROOM, 0)).await.unwrap();
    db.write(move |tx| room_purges::delete_members(tx, ROOM, ROOM_ID, &members)).await.unwrap();
    assert_eq!(db.write(|tx| room_purges::delete_events(tx, ROOM)).await.unwrap(), 1);
    assert_eq!(db.write(|tx| room_purges::delete_events(tx, ROOM)).await.unwrap(), 0);
    db.write(|tx| room_purges::end(tx, ROOM)).await.unwrap();
}

/// Returns the columns of a table with their types.
async fn columns(db: &Database, table: &str) -> Vec<(String, String)> {
    let sql: &str = match db.backend() {
        Backend::Sqlite => format!("SELECT name, type FROM pragma_table_info('{table}')"),
        Backend::Postgres => format!(
            "SELECT column_name::text, data_type::text FROM information_schema.columns \
             WHERE table_name = '{table}' AND table_schema = current_schema()"
        ),
    }
    .leak();
    db.read(move |tx| tx.query(sql, &[], |row| Ok((row.get(0)?, row.get::<String>(1)?.to_lowercase())))).await.unwrap()
}

/// Inserts a row of the room.
async fn insert(db: &Database, backend: Backend, table: &str, columns: &[(String, String)]) {
    let value = |(name, kind): &(String, String)| {
        if let Some((_, value)) = ROOM_COLUMNS.iter().find(|(column, _)| column == name) {
            return (*value).to_owned();
        }
        let value = match (name.as_str(), kind.as_str()) {
            ("user_id", _) => "'@a:a.example'",
            ("user_nid", _) => "5",
            (_, "blob" | "bytea") if backend == Backend::Sqlite => "x'00'",
            (_, "blob" | "bytea") => "'\\x00'::bytea",
            (_, "text") => "'x'",
            _ => "1",
        };
        value.to_owned()
    };
    let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    let values: Vec<String> = columns.iter().map(value).collect();
    execute(db, format!("INSERT INTO {table} ({}) VALUES ({})", names.join(", "), values.join(", "))).await;
}

async fn execute(db: &Database, sql: String) {
    let sql: &'static str = sql.leak();
    db.write(move |tx| tx.execute(sql, &[])).await.unwrap();
}
