//! The index of searchable texts finds the same in both databases.

use std::collections::BTreeSet;

use plexus_store::full_text::{Pattern, SearchKey, index_words};
use plexus_store::repo::search_documents::{Document, Query, find, has_any, put, remove, remove_of_room, remove_some};
use plexus_store::repo::search_progress;
use plexus_store::{Database, EventNid, RoomNid, maintenance};
use plexus_testkit::databases;

const NOW_MS: u64 = 2_000_000;
const TEXTS: [&str; 8] = [
    "Hello world",
    "hello there, it's ok",
    "今天天气很好",
    "今天 天气 很好",
    "우리 학교에서 만나요",
    "Straße nach Hellas",
    "o k",
    "Ωμέγα and omega",
];

fn document(event_nid: EventNid, room_nid: RoomNid, ts: i64, text: &str) -> Document {
    Document {
        event_nid,
        room_nid,
        origin_server_ts: ts,
        key: SearchKey::Body,
        edit_nid: None,
        words: index_words(text),
    }
}

async fn events(db: &Database, term: &str, rooms: &[RoomNid], keys: &[SearchKey]) -> Vec<EventNid> {
    let terms = Pattern::parse(term).expect("a pattern").index_terms();
    let query = Query { terms, rooms: rooms.to_vec(), keys: keys.to_vec(), before: i64::MAX, limit: 100 };
    let hits = db.read(move |tx| find(tx, &query)).await.unwrap();
    assert!(hits.is_sorted_by(|one, other| one.document_nid > other.document_nid));
    hits.into_iter().map(|hit| hit.event_nid).collect()
}

#[tokio::test]
async fn words_are_found_in_their_rooms_the_newest_first() {
    for db in databases() {
        let documents: Vec<Document> =
            (1..).zip(TEXTS).map(|(nid, text)| document(nid, nid % 2, 1_000 * nid, text)).collect();
        db.write(move |tx| put(tx, &documents, NOW_MS)).await.unwrap();
        for (term, expected) in [
            ("hell", &[6, 2, 1][..]),
            ("hello", &[2, 1]),
            ("hello world", &[1]),
            ("ok", &[2]),
            ("o", &[8, 7, 2]),
            ("o k", &[7]),
            ("天气", &[4, 3]),
            ("天天", &[3]),
            ("好", &[4, 3]),
            ("학교", &[5]),
            ("STRASSE", &[6]),
            ("ω", &[8]),
            ("nothing", &[]),
        ] {
            assert_eq!(events(&db, term, &[0, 1], &[]).await, expected, "{term}");
        }
        assert_eq!(events(&db, "hello", &[0], &[]).await, [2]);
        assert_eq!(events(&db, "hello", &[2], &[]).await, [] as [EventNid; 0]);
        let many: Vec<RoomNid> = (1..500).collect();
        assert_eq!(events(&db, "hello", &many, &[]).await, [1]);
        assert_eq!(events(&db, "hello", &[0, 1], &[SearchKey::Name]).await, [] as [EventNid; 0]);
        assert_eq!(events(&db, "hello", &[0, 1], &[SearchKey::Name, SearchKey::Body]).await, [2, 1]);
        assert_eq!(maintenance::check(db.place().options()).unwrap(), []);
    }
}

#[tokio::test]
async fn documents_are_replaced_and_removed() {
    for db in databases() {
        let first = [document(1, 7, 1_000, "old fox"), document(2, 7, 2_000, "fox"), document(3, 8, 3_000, "fox")];
        db.write(move |tx| put(tx, &first, NOW_MS)).await.unwrap();
        let again = [Document { edit_nid: Some(9), key: SearchKey::Topic, ..document(1, 7, 1_000, "new fox") }];
        db.write(move |tx| put(tx, &again, NOW_MS)).await.unwrap();
        assert_eq!(events(&db, "old", &[7, 8], &[]).await, [] as [EventNid; 0]);
        assert_eq!(events(&db, "fox", &[7, 8], &[]).await, [3, 2, 1]);
        assert_eq!(events(&db, "fox", &[7, 8], &[SearchKey::Topic]).await, [1]);
        db.write(|tx| remove(tx, &[2, 50])).await.unwrap();
        assert_eq!(events(&db, "fox", &[7, 8], &[]).await, [3, 1]);
        assert_eq!(db.write(|tx| remove_of_room(tx, 7, 10)).await.unwrap(), 1);
        assert_eq!(events(&db, "fox", &[7, 8], &[]).await, [3]);
        assert_eq!(db.write(|tx| remove_some(tx, 10)).await.unwrap(), 1);
        assert!(!db.read(has_any).await.unwrap());
        assert_eq!(events(&db, "fox", &[7, 8], &[]).await, [] as [EventNid; 0]);
    }
}

/// Other servers choose times: the future, the past, or the same for all.
#[tokio::test]
async fn events_of_any_time_are_in_the_index() {
    for db in databases() {
        for round in 0..4 {
            let documents: Vec<Document> = (1..=150)
                .map(|nid| {
                    let ts = [i64::MAX, i64::MIN, 5_000, 1_000_000][usize::try_from(nid % 4).unwrap()];
                    document(1_000 * round + nid, 1, ts, "fox")
                })
                .collect();
            db.write(move |tx| put(tx, &documents, NOW_MS)).await.unwrap();
        }
        let terms = Pattern::parse("fox").unwrap().index_terms();
        let query = Query { terms, rooms: vec![1], keys: vec![], before: i64::MAX, limit: 1_000 };
        let hits = db.read(move |tx| find(tx, &query)).await.unwrap();
        let found: BTreeSet<EventNid> = hits.iter().map(|hit| hit.event_nid).collect();
        assert_eq!((hits.len(), found.len()), (600, 600));
    }
}

#[tokio::test]
async fn pages_follow_each_other_without_gaps() {
    for db in databases() {
        for from in (0..20_000).step_by(500) {
            let text = |nid: i64| if nid % 100 == 0 { "rare fox" } else { "fox" };
            let documents: Vec<Document> =
                (from..from + 500).map(|nid| document(nid, 1, 10 * nid, text(nid))).collect();
            db.write(move |tx| put(tx, &documents, NOW_MS)).await.unwrap();
        }
        for (term, count) in [("rare", 200), ("fox", 20_000)] {
            let (mut seen, mut before) = (Vec::new(), i64::MAX);
            loop {
                let terms = Pattern::parse(term).unwrap().index_terms();
                let query = Query { terms, rooms: vec![1], keys: vec![], before, limit: 700 };
                let hits = db.read(move |tx| find(tx, &query)).await.unwrap();
                let Some(last) = hits.last() else { break };
                before = last.document_nid;
                seen.extend(hits.into_iter().map(|hit| hit.event_nid));
            }
            assert_eq!(seen.len(), count);
            assert!(seen.is_sorted_by(|one, other| one > other));
        }
    }
}

#[tokio::test]
async fn what_is_queued_waits_only_while_the_index_is_kept() {
    for db in databases() {
        assert_eq!(db.read(search_progress::position).await.unwrap(), None);
        db.write(|tx| search_progress::keep(tx, 5)).await.unwrap();
        assert_eq!(db.read(search_progress::position).await.unwrap(), Some(5));
        db.write(|tx| search_progress::set_position(tx, 9)).await.unwrap();
        assert_eq!(db.read(search_progress::position).await.unwrap(), Some(9));
        db.write(search_progress::abandon).await.unwrap();
        db.write(|tx| search_progress::set_position(tx, 10)).await.unwrap();
        assert_eq!(db.read(search_progress::position).await.unwrap(), None);
    }
}
