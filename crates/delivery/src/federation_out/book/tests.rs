use super::*;

fn server(name: &str) -> ServerName {
    name.parse().unwrap()
}

fn due(server: &ServerName) -> CameBack {
    CameBack { server: server.clone(), is_up: false }
}

fn typing(content: &str) -> Ephemeral {
    Ephemeral::Typing { key: "!r @u".into(), content: content.into() }
}

#[test]
fn who_has_got_everything_costs_nothing() {
    let mut book = Book::new(5, Vec::new(), Vec::new());
    book.news(server("a"), 5, 6);
    book.distributed = 6;
    let turn = book.next(Lane::Prompt).unwrap();
    assert_eq!((turn.cursor, turn.upto), (5, 6));
    // Under way: a restart must look at position 6 again.
    assert_eq!(book.progress(), None);
    book.sent(&turn.server, 6, false, Vec::new());
    assert!(book.destinations.is_empty() && book.next(Lane::Prompt).is_none());
    assert_eq!(book.progress().unwrap(), Progress { position: 6, ..Progress::default() });
    assert_eq!(book.progress(), None);
}

#[test]
fn one_that_fails_gets_a_cursor_and_holds_up_nobody() {
    let mut book = Book::new(0, Vec::new(), Vec::new());
    book.news(server("a"), 0, 1);
    book.news(server("b"), 0, 1);
    book.distributed = 1;
    let (turn, other) = (book.next(Lane::Prompt).unwrap(), book.next(Lane::Prompt).unwrap());
    let a = turn.server.clone();
    book.failed(turn, false);
    book.sent(&other.server, 1, false, Vec::new());
    let progress = book.progress().unwrap();
    assert_eq!(progress, Progress { position: 1, behind: vec![(a.clone(), 0)], caught_up: Vec::new() });
    assert_eq!(book.everybody_has(), 0);
    book.news(a.clone(), 1, 2);
    book.distributed = 2;
    assert!(book.next(Lane::Prompt).is_none());
    book.came_back(&due(&a));
    assert!(book.next(Lane::Prompt).is_none());
    let turn = book.next(Lane::Slow).unwrap();
    assert_eq!((turn.cursor, turn.upto), (0, 2));
    book.sent(&a, 2, false, Vec::new());
    assert_eq!(book.progress().unwrap(), Progress { position: 2, behind: Vec::new(), caught_up: vec![a] });
}

#[test]
fn a_message_to_5000_servers_writes_none_of_them_down() {
    let mut book = Book::new(0, Vec::new(), Vec::new());
    for number in 0..5_000 {
        book.news(server(&format!("s{number}")), 0, 1);
    }
    book.distributed = 1;
    assert_eq!(book.progress(), None);
    while let Some(turn) = book.next(Lane::Prompt) {
        book.sent(&turn.server, 1, false, Vec::new());
    }
    assert!(book.destinations.is_empty());
    assert_eq!(book.progress().unwrap(), Progress { position: 1, ..Progress::default() });
}

#[test]
fn one_that_talks_to_us_while_it_fails_is_tried_again() {
    let mut book = Book::new(0, Vec::new(), Vec::new());
    book.news(server("a"), 0, 1);
    let turn = book.next(Lane::Prompt).unwrap();
    book.came_back(&due(&turn.server));
    book.failed(turn, false);
    assert!(book.next(Lane::Slow).is_some());
}

#[test]
fn nothing_is_lost_while_a_server_is_about_to_be_tried_again() {
    let mut book = Book::new(0, Vec::new(), Vec::new());
    book.ephemeral(server("a"), typing("{}"));
    let turn = book.next(Lane::Prompt).unwrap();
    book.failed(turn, true);
    book.ephemeral(server("a"), Ephemeral::Typing { key: "!r @v".into(), content: "{}".into() });
    book.came_back(&due(&server("a")));
    assert!(book.next(Lane::Prompt).is_none());
    let turn = book.next(Lane::Slow).unwrap();
    assert!(turn.ephemeral.len() == 2 && !turn.was_away);
    assert_eq!(book.progress(), None);
    // What it can do without is not kept once it is left alone.
    book.failed(turn, false);
    assert!(book.destinations.is_empty());
}

#[test]
fn one_that_is_up_does_not_wait_among_the_slow() {
    let up = |server: &ServerName| CameBack { server: server.clone(), is_up: true };
    let mut book = Book::new(0, Vec::new(), Vec::new());
    book.news(server("a"), 0, 1);
    let turn = book.next(Lane::Prompt).unwrap();
    book.failed(turn, true);
    book.came_back(&up(&server("a")));
    let turn = book.next(Lane::Prompt).unwrap();
    // Also when it talks to us while it fails, or while its turn among the slow has not come.
    book.came_back(&up(&server("a")));
    book.failed(turn, false);
    let turn = book.next(Lane::Prompt).unwrap();
    book.failed(turn, false);
    book.came_back(&due(&server("a")));
    book.came_back(&up(&server("a")));
    assert!(book.next(Lane::Prompt).is_some());
    assert!(book.next(Lane::Slow).is_none());
}

#[test]
fn a_cursor_of_the_last_run_is_where_it_goes_on() {
    let behind = |name, cursor, away| Behind { server: server(name), cursor, away };
    let mut book = Book::new(9, vec![behind("a", 3, false), behind("c", 2, true)], vec![server("b")]);
    let (first, second) = (book.next(Lane::Prompt).unwrap(), book.next(Lane::Prompt).unwrap());
    assert_eq!((first.server.as_str(), first.cursor, first.upto), ("a", 3, 9));
    assert!(second.server.as_str() == "b" && second.to_device);
    let failed = book.next(Lane::Slow).unwrap();
    assert!(failed.server.as_str() == "c" && failed.was_away && !first.was_away);
}

#[test]
fn one_that_takes_long_gives_way_and_loses_nothing() {
    let mut book = Book::new(0, Vec::new(), Vec::new());
    book.ephemeral(server("a"), typing("{}"));
    book.messages(server("a"));
    book.news(server("b"), 0, 1);
    let turn = book.next(Lane::Prompt).unwrap();
    assert!(book.prompt_ones_wait());
    book.gave_way(turn);
    assert_eq!(book.next(Lane::Prompt).unwrap().server, server("b"));
    assert!(!book.prompt_ones_wait());
    let turn = book.next(Lane::Slow).unwrap();
    assert!(turn.server == server("a") && turn.to_device && turn.ephemeral.len() == 1 && !turn.was_away);
    // It answers in the end, and is as good as any other.
    book.messages(server("a"));
    book.sent(&turn.server, 0, false, Vec::new());
    assert_eq!(book.next(Lane::Prompt).unwrap().server, server("a"));
}

#[test]
fn what_is_refused_is_looked_for_in_ever_smaller_transactions() {
    let mut book = Book::new(0, Vec::new(), Vec::new());
    book.ephemeral(server("a"), Ephemeral::Typing { key: "!r @u".into(), content: "{}".into() });
    book.messages(server("a"));
    book.news(server("a"), 0, 9);
    book.distributed = 9;
    let turn = book.next(Lane::Prompt).unwrap();
    assert_eq!(turn.limit, None);
    book.narrow(turn, 20);
    let turn = book.next(Lane::Prompt).unwrap();
    assert!(turn.limit == Some(20) && turn.to_device && turn.ephemeral.len() == 1 && turn.cursor == 0);
    book.sent(&turn.server, 1, true, Vec::new());
    assert_eq!(book.next(Lane::Prompt).unwrap().limit, Some(40));
    for cursor in 2..5 {
        book.sent(&turn.server, cursor, true, Vec::new());
        book.next(Lane::Prompt).unwrap();
    }
    book.sent(&turn.server, 5, true, Vec::new());
    assert_eq!(book.next(Lane::Prompt).unwrap().limit, None);
}

#[test]
fn messages_that_are_held_back_hold_up_nothing_else() {
    let mut book = Book::new(0, Vec::new(), Vec::new());
    book.messages(server("a"));
    book.news(server("a"), 0, 1);
    book.distributed = 1;
    let turn = book.next(Lane::Prompt).unwrap();
    book.hold_to_device(turn);
    let turn = book.next(Lane::Prompt).unwrap();
    assert!(!turn.to_device && turn.upto == 1);
    book.sent(&turn.server, 1, false, Vec::new());
    assert!(book.next(Lane::Prompt).is_none());
    book.news(server("a"), 1, 2);
    book.distributed = 2;
    let turn = book.next(Lane::Prompt).unwrap();
    assert!(!turn.to_device && turn.cursor == 1);
    book.sent(&turn.server, 2, false, Vec::new());
    assert!(book.next(Lane::Prompt).is_none());
    book.came_back(&due(&turn.server));
    assert!(book.next(Lane::Prompt).unwrap().to_device);
    book.sent(&turn.server, 2, false, Vec::new());
    assert!(book.destinations.is_empty());
}

#[test]
fn at_the_end_those_on_their_way_are_told_apart_from_those_that_have_everything() {
    let mut book = Book::new(0, Vec::new(), Vec::new());
    book.news(server("a"), 0, 1);
    book.news(server("b"), 0, 1);
    book.messages(server("c"));
    book.distributed = 1;
    let (a, b) = (book.next(Lane::Prompt).unwrap(), book.next(Lane::Prompt).unwrap());
    book.sent(&b.server, 1, false, Vec::new());
    assert_eq!(book.progress(), None);
    book.close();
    let progress = book.progress().unwrap();
    assert_eq!(progress, Progress { position: 1, behind: vec![(a.server, 0)], caught_up: Vec::new() });
}
