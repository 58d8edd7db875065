use super::*;

fn receipt(position: Position, user: &str, kind: ReceiptType, thread: &str) -> Receipt {
    Receipt {
        room: 1,
        user: user.parse().expect("a user id"),
        receipt_type: kind.as_str().to_owned(),
        thread_id: thread.to_owned(),
        event_id: "$e:x".to_owned(),
        event_position: Some(3),
        ts: 1_000,
        position,
    }
}

#[test]
fn a_receipt_names_its_thread() {
    let receipt = receipt(6, "@me:x", ReceiptType::ReadPrivate, "main");
    assert_eq!(
        event([&receipt]).as_deref(),
        Some(r#"{"content":{"$e:x":{"m.read.private":{"@me:x":{"thread_id":"main","ts":1000}}}},"type":"m.receipt"}"#)
    );
    assert_eq!(event([]), None);
}

#[test]
fn an_unthreaded_receipt_wins_over_a_threaded_one_at_the_same_event() {
    let receipts = [receipt(5, "@you:x", ReceiptType::Read, ""), receipt(6, "@you:x", ReceiptType::Read, "main")];
    let expected = r#"{"content":{"$e:x":{"m.read":{"@you:x":{"ts":1000}}}},"type":"m.receipt"}"#;
    assert_eq!(event(&receipts).as_deref(), Some(expected));
    assert_eq!(event(receipts.iter().rev()).as_deref(), Some(expected));
}

#[test]
fn the_log_says_when_it_does_not_reach_back() {
    let log = ReceiptLog::new(10);
    assert_eq!(log.range(1, 10, 20).map(|found| found.len()), Some(0));
    assert_eq!(log.range(1, 9, 20), None);
    for position in 11..=100 {
        log.push(&Arc::new(receipt(position, "@you:x", ReceiptType::Read, "")));
    }
    assert_eq!(log.range(1, 10, 100), None);
    let newest = log.range(1, 90, 95).expect("it reaches back");
    assert_eq!(newest.iter().map(|receipt| receipt.position).collect::<Vec<_>>(), [95]);
}
