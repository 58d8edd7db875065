//! A report as a self-contained page with charts, for light and dark mode.

use std::fmt::Write as _;

use crate::report::{Better, Figure, Report, Series, figure_text, ratio_text};
use crate::stats::{median, percentile};

const STYLE: &str = "
:root { color-scheme: light dark; --back: #fff; --text: #1c1c1e; --soft: #6b6b70; --line: #dcdce0;
  --c0: #9a9aa2; --c1: #c3c3ca; --c2: #2f6fde; --c3: #16a085; --c4: #c2571a; --c5: #8e44ad }
@media (prefers-color-scheme: dark) { :root { --back: #141416; --text: #ececf0; --soft: #9d9da6; --line: #34343a;
  --c0: #7d7d86; --c1: #5b5b63; --c2: #6ea0ff; --c3: #3fc5a5; --c4: #f0935a; --c5: #c08bdb } }
body { background: var(--back); color: var(--text); font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto;
  max-width: 60rem; padding: 0 1rem }
h1 { font-size: 1.5rem }
h2 { font-size: 1.1rem; margin: 2rem 0 .3rem; border-top: 1px solid var(--line); padding-top: 1rem }
h3 { font-size: .9rem; font-weight: 600; margin: .9rem 0 .1rem } p, .soft { color: var(--soft) }
svg { display: block; width: 100%; height: auto } svg text { fill: var(--text); font: 12px system-ui, sans-serif }
svg .soft { fill: var(--soft) } svg .axis, svg .spread { stroke: var(--text); stroke-width: 1 }
svg .axis { stroke: var(--line) }
svg polyline { fill: none; stroke-width: 1.5 }
";
/// The width of a chart, in the units of its view box.
const WIDTH: f64 = 900.0;
/// The start of bars, and their greatest length.
const LEFT: f64 = 190.0;
const LONGEST: f64 = 430.0;
const ROW: f64 = 22.0;
/// The height of a chart over time.
const HEIGHT: f64 = 160.0;
/// The number of colours.
const COLOURS: usize = 6;

/// Returns the page.
pub(crate) fn page(report: &Report, facts: &[(String, String)]) -> String {
    let mut out = String::from("<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n");
    out.push_str("<meta name=\"viewport\" content=\"width=device-width\">\n<title>How fast, side by side</title>\n");
    // Writing to a String cannot fail, here and below.
    let _ = write!(out, "<style>{STYLE}</style>\n<h1>How fast, side by side</h1>\n");
    out.push_str("<p>Bars are medians of the rounds, the thin line their spread.");
    let baseline = (0..report.targets.len()).filter(|index| report.is_baseline(*index));
    let names: Vec<String> = baseline.map(|index| escape(&report.targets[index])).collect();
    let _ = writeln!(out, " “times” is how much better than the better of: {}.</p>", names.join(", "));
    for (name, value) in facts {
        let _ = writeln!(out, "<div><span class=\"soft\">{}:</span> {}</div>", escape(name), escape(value));
    }
    for scenario in report.scenarios() {
        let _ = writeln!(out, "<h2>{}</h2>", escape(scenario));
        for figure in report.figures.iter().filter(|figure| figure.scenario == scenario) {
            bars(report, figure, &mut out);
        }
        let series: Vec<&Series> = report.series.iter().filter(|series| series.scenario == scenario).collect();
        if !series.is_empty() {
            lines(report, &series, &mut out);
        }
    }
    for failure in &report.failures {
        let _ = writeln!(out, "<p>Not measured: {}</p>", escape(failure));
    }
    out.push_str("</html>\n");
    out
}

fn bars(report: &Report, figure: &Figure, out: &mut String) {
    let arrow = if figure.better == Better::More { "more is better" } else { "less is better" };
    let (what, unit) = (escape(&figure.what), escape(&figure.unit));
    let _ = writeln!(out, "<h3>{what} <span class=\"soft\">({unit}, {arrow})</span></h3>");
    let measured: Vec<(usize, &Vec<f64>)> =
        figure.rounds.iter().enumerate().filter(|(_, rounds)| !rounds.is_empty()).collect();
    let most = measured.iter().flat_map(|(_, rounds)| *rounds).copied().fold(f64::MIN_POSITIVE, f64::max);
    #[expect(clippy::cast_precision_loss, reason = "a chart has few rows")]
    let height = ROW * measured.len() as f64;
    let _ = writeln!(out, "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{what}\">");
    let mut top = 0.0;
    for (index, rounds) in measured {
        let value = median(rounds).unwrap_or_default();
        let at = |percent: usize| LEFT + percentile(rounds, percent).unwrap_or_default() / most * LONGEST;
        let (middle, width) = (top + ROW / 2.0, (value / most * LONGEST).max(1.0));
        let _ = writeln!(
            out,
            "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{LEFT}\" y=\"{:.0}\" width=\"{width:.1}\" height=\"{:.0}\" rx=\"2\" fill=\"var(--c{})\"/>\
             <line class=\"spread\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle:.0}\" y2=\"{middle:.0}\"/>",
            LEFT - 8.0,
            middle + 4.0,
            escape(&report.targets[index]),
            top + 3.0,
            ROW - 6.0,
            index % COLOURS,
            at(0),
            at(100)
        );
        let ratio = ratio_text(&report.ratios(figure, index)).map(|text| format!(" · {text} times"));
        let label = LEFT + (width.max(at(100) - LEFT)) + 8.0;
        let _ = writeln!(
            out,
            "<text x=\"{label:.0}\" y=\"{:.0}\">{}<tspan class=\"soft\">{}</tspan></text>",
            middle + 4.0,
            figure_text(value),
            ratio.unwrap_or_default()
        );
        top += ROW;
    }
    out.push_str("</svg>\n");
}

fn lines(report: &Report, series: &[&Series], out: &mut String) {
    let points = || series.iter().flat_map(|series| &series.points);
    let first = points().map(|(at, _)| *at).fold(f64::MAX, f64::min);
    let last = points().map(|(at, _)| *at).fold(first + 1.0, f64::max);
    let most = points().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
    let unit = series.first().map(|series| escape(&series.unit)).unwrap_or_default();
    let _ = writeln!(out, "<h3>over time <span class=\"soft\">({unit})</span></h3>");
    let _ = writeln!(out, "<svg viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\">", HEIGHT + 20.0);
    let _ = writeln!(
        out,
        "<line class=\"axis\" x1=\"50\" x2=\"650\" y1=\"{HEIGHT}\" y2=\"{HEIGHT}\"/>\
         <line class=\"axis\" x1=\"50\" x2=\"650\" y1=\"10\" y2=\"10\"/>\
         <text class=\"soft\" x=\"44\" y=\"14\" text-anchor=\"end\">{}</text>\
         <text class=\"soft\" x=\"44\" y=\"{:.0}\" text-anchor=\"end\">0</text>\
         <text class=\"soft\" x=\"650\" y=\"{:.0}\" text-anchor=\"end\">{:.0} s</text>",
        figure_text(most),
        HEIGHT + 4.0,
        HEIGHT + 16.0,
        last - first
    );
    for (row, series) in series.iter().enumerate() {
        let place = |(at, value): &(f64, f64)| {
            let x = 50.0 + (at - first) / (last - first) * 600.0;
            format!("{x:.1},{:.1}", HEIGHT - value / most * (HEIGHT - 10.0))
        };
        let path: Vec<String> = series.points.iter().map(place).collect();
        let (colour, dash) = (series.target % COLOURS, if series.what == "resident" { "" } else { "4 3" });
        #[expect(clippy::cast_precision_loss, reason = "a chart has few lines")]
        let y = 20.0 + row as f64 * 18.0;
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" stroke=\"var(--c{colour})\" stroke-dasharray=\"{dash}\"/>\
             <line x1=\"664\" x2=\"684\" y1=\"{y:.0}\" y2=\"{y:.0}\" stroke=\"var(--c{colour})\" stroke-width=\"2\" \
             stroke-dasharray=\"{dash}\"/><text x=\"690\" y=\"{:.0}\">{}: {}</text>",
            path.join(" "),
            y + 4.0,
            escape(&report.targets[series.target]),
            escape(&series.what)
        );
    }
    out.push_str("</svg>\n");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_shows_every_target_and_nothing_of_others_gets_out_of_its_place() {
        let mut report = Report::new(vec!["<old> & grey".to_owned(), "new".to_owned()]);
        for (old, new) in [(10.0, 1000.0), (12.0, 1500.0)] {
            report.add("send", ("rate", "per second", Better::More), 0, old);
            report.add("send", ("rate", "per second", Better::More), 1, new);
        }
        report.point("send", "resident", "MB", 1, (0.0, 20.0));
        report.point("send", "resident", "MB", 1, (1.0, 25.0));
        report.failures.push("sync: <it> broke".to_owned());
        let page = page(&report, &[("processor".to_owned(), "two \"cores\"".to_owned())]);
        assert!(page.contains("&lt;old&gt; &amp; grey") && !page.contains("<old>") && !page.contains("<it>"), "{page}");
        assert!(page.contains("100 (100 to 125) times"), "{page}");
        assert!(page.contains("two &quot;cores&quot;") && page.contains("<polyline"), "{page}");
        assert_eq!(page.matches("<rect").count(), 2, "{page}");
    }
}
