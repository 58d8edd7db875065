use super::*;

fn user(id: &str) -> UserId {
    id.parse().expect("a user id")
}

fn event(room: RoomNid, position: Position) -> Change {
    Change::Event { room, position, outgoing: false }
}

fn changed(index: &ChangeIndex, since: Position, rooms: &[RoomNid]) -> MaybeChanged<Vec<RoomNid>> {
    index.rooms_changed(since, |room| rooms.contains(&room), || rooms.iter().copied())
}

#[test]
fn only_the_rooms_of_the_user_that_changed_are_named() {
    let index = ChangeIndex::new(10);
    index.apply(&[event(1, 11), event(2, 12), event(1, 13), event(3, 14)]);
    assert_eq!(changed(&index, 11, &[1, 3, 9]), MaybeChanged::Known(vec![1, 3]));
    assert_eq!(changed(&index, 13, &[1, 3, 9]), MaybeChanged::Known(vec![3]));
    assert_eq!(changed(&index, 14, &[1, 3, 9]), MaybeChanged::Known(vec![]));
    assert_eq!(changed(&index, 9, &[1, 3, 9]), MaybeChanged::Unknown);
}

#[test]
fn a_sync_that_missed_more_than_the_log_keeps_looks_at_its_rooms() {
    let index = ChangeIndex::new(0);
    let many: Vec<Change> = (1..=20_000).map(|position| event(position % 50, position)).collect();
    index.apply(&many);
    assert_eq!(changed(&index, 1, &[7, 60]), MaybeChanged::Known(vec![7]));
    assert_eq!(changed(&index, 19_999, &[0, 7]), MaybeChanged::Known(vec![0]));
}

#[test]
fn users_and_devices() {
    let index = ChangeIndex::new(5);
    index.apply(&[
        Change::AccountData { user: user("@a:x"), room: None, position: 6 },
        Change::ToDevice { user: user("@a:x"), device: "D".into(), position: 7 },
        Change::DeviceList { user: user("@b:x"), private: false, position: 8 },
    ]);
    assert_eq!(index.account_data_changed(&user("@a:x"), 5), MaybeChanged::Known(true));
    assert_eq!(index.account_data_changed(&user("@a:x"), 6), MaybeChanged::Known(false));
    assert_eq!(index.account_data_changed(&user("@b:x"), 5), MaybeChanged::Known(false));
    assert_eq!(index.account_data_changed(&user("@b:x"), 4), MaybeChanged::Unknown);
    assert_eq!(index.to_device_changed(&user("@a:x"), "D", 6), MaybeChanged::Known(true));
    assert_eq!(index.to_device_changed(&user("@a:x"), "E", 6), MaybeChanged::Known(false));
    assert_eq!(index.device_lists(&user("@c:x"), 5, 8), MaybeChanged::Known(vec![user("@b:x")]));
    assert_eq!(index.device_lists(&user("@c:x"), 5, 7), MaybeChanged::Known(vec![]));
    assert_eq!(index.device_lists(&user("@c:x"), 4, 8), MaybeChanged::Unknown);
}

#[test]
fn messages_are_cleared_once() {
    let index = ChangeIndex::new(5);
    assert!(index.to_device_uncleared(&user("@a:x"), "D", 5), "there may be some from before the start");
    index.to_device_cleared(&user("@a:x"), "D", 5);
    assert!(!index.to_device_uncleared(&user("@a:x"), "D", 6));
    index.apply(&[Change::ToDevice { user: user("@a:x"), device: "D".into(), position: 7 }]);
    assert!(index.to_device_uncleared(&user("@a:x"), "D", 7));
    index.to_device_cleared(&user("@a:x"), "D", 7);
    assert!(!index.to_device_uncleared(&user("@a:x"), "D", 9));
}

#[test]
fn changes_that_come_twice_count_once_and_missed_ones_are_unknown() {
    let index = ChangeIndex::new(5);
    index.apply(&[event(7, 6), event(8, 7)]);
    index.apply(&[event(7, 6)]);
    assert_eq!(changed(&index, 6, &[7, 8]), MaybeChanged::Known(vec![8]));
    index.apply(&[Change::Missed { position: 20 }]);
    assert_eq!(changed(&index, 19, &[7, 8]), MaybeChanged::Unknown);
    assert_eq!(changed(&index, 20, &[7, 8]), MaybeChanged::Known(vec![]));
}
