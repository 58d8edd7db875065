use super::*;

#[test]
fn ratios_are_taken_round_by_round_and_point_the_right_way() {
    let mut report = Report::new(vec!["old".to_owned(), "new".to_owned()]);
    for (old, new) in [(100.0, 200.0), (10.0, 40.0), (1.0, 3.0)] {
        report.add("send", ("rate", "per second", Better::More), 0, old);
        report.add("send", ("rate", "per second", Better::More), 1, new);
        report.add("sync", ("time", "ms", Better::Less), 0, new);
        report.add("sync", ("time", "ms", Better::Less), 1, old);
    }
    for figure in &report.figures {
        assert_eq!(report.ratios(figure, 1), [2.0, 4.0, 3.0]);
        assert!(report.ratios(figure, 0).is_empty(), "what others are compared with has no ratio");
    }
}

#[test]
fn a_server_on_two_databases_is_one_baseline_and_its_better_figure_counts() {
    let names = ["Old on SQLite", "Old on PostgreSQL", "New on SQLite"];
    let mut report = Report::new(names.map(str::to_owned).to_vec());
    for (index, value) in [(0, 30.0), (1, 60.0), (2, 120.0)] {
        report.add("send", ("rate", "per second", Better::More), index, value);
        report.add("sync", ("time", "ms", Better::Less), index, 1.0 / value);
    }
    assert_eq!(report.ratios(&report.figures[0], 2), [2.0]);
    assert_eq!(ratio_text(&report.ratios(&report.figures[1], 2)).as_deref(), Some("2.00"));
    assert!(report.ratios(&report.figures[0], 1).is_empty());
}

#[test]
fn reports_of_several_runs_become_one() {
    let mut first = Report::new(vec!["a".to_owned()]);
    first.add("send", ("rate", "per second", Better::More), 0, 1.0);
    let mut second = Report::new(vec!["b".to_owned(), "a".to_owned()]);
    second.add("sync", ("time", "ms", Better::Less), 0, 2.0);
    second.add("sync", ("time", "ms", Better::Less), 1, 3.0);
    second.point("sync", "memory", "MB", 1, (0.5, 20.0));
    second.point("sync", "memory", "MB", 1, (1.5, 21.0));
    let again: Report = serde_json::from_str(&second.json()).expect("a report can be read again");
    first.merge(again);
    assert_eq!(first.targets, ["a", "b"]);
    assert_eq!(first.scenarios(), ["send", "sync"]);
    assert_eq!(first.figures[0].rounds, [vec![1.0], vec![]]);
    assert_eq!(first.figures[1].rounds, [vec![3.0], vec![2.0]]);
    assert_eq!((first.series[0].target, first.series[0].points.len()), (0, 2));
}

#[test]
fn figures_have_as_many_digits_as_they_deserve() {
    let texts = [1_234_567.8, 12_345.0, 999.6, 45.67, 1.234, 0.0123].map(figure_text);
    assert_eq!(texts, ["1,234,568", "12,345", "1000", "45.7", "1.23", "0.0123"]);
}
