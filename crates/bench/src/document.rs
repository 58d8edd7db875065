//! Combines reports of several runs into a Markdown document and a page with charts.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::report::Report;
use crate::{aims, page, table};

/// The arguments for combining reports.
#[derive(Debug, clap::Args)]
pub(crate) struct Render {
    /// Reports in JSON, as written by runs.
    #[arg(required = true)]
    reports: Vec<PathBuf>,
    /// A fact about the runs, `NAME=VALUE`; repeatable.
    #[arg(long = "fact", value_parser = fact)]
    facts: Vec<(String, String)>,
    /// The path of the document.
    #[arg(long)]
    markdown_file: Option<PathBuf>,
    /// The path of the page.
    #[arg(long)]
    html_file: Option<PathBuf>,
}

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RenderError {
    #[error("{0}: {1}")]
    File(PathBuf, io::Error),
    #[error("{0} is not a report: {1}")]
    Report(PathBuf, serde_json::Error),
}

impl Render {
    /// Reads the reports and writes the document and the page.
    pub(crate) fn run(&self) -> Result<(), RenderError> {
        let mut report = Report::default();
        for path in &self.reports {
            let text = fs::read_to_string(path).map_err(|error| RenderError::File(path.clone(), error))?;
            report.merge(serde_json::from_str(&text).map_err(|error| RenderError::Report(path.clone(), error))?);
        }
        if let Some(path) = &self.markdown_file {
            write(path, &document(&report, &self.facts))?;
        }
        if let Some(path) = &self.html_file {
            write(path, &page::page(&report, &self.facts))?;
        }
        Ok(())
    }
}

/// Writes a file.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), RenderError> {
    fs::write(path, text).map_err(|error| RenderError::File(path.to_owned(), error))
}

fn fact(written: &str) -> Result<(String, String), &'static str> {
    let (name, value) = written.split_once('=').ok_or("NAME=VALUE is expected")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn document(report: &Report, facts: &[(String, String)]) -> String {
    let mut out = String::from(
        "# Benchmarks\n\nWritten by `bench/compare.sh`; no figure is typed by hand. The same figures as charts: \
         [benchmarks.html](benchmarks.html). What the parts of the program cost by themselves: \
         [benchmarks-parts.md](benchmarks-parts.md).\n\n| | |\n|---|---|\n",
    );
    for (name, value) in facts {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(out, "| {name} | {value} |");
    }
    let _ = write!(
        out,
        "\n## Aims\n\n\"Times better\" is than the better figure of the baseline, round by round, the median of the \
         rounds.\n\n{}\n\n## Figures\n\nMedians of the rounds; of ratios also the least and the most. Targets are \
         driven in turn, so that a machine whose speed drifts does not decide.\n\n{}\n",
        aims::table(report),
        table::table(report)
    );
    if !report.failures.is_empty() {
        out.push_str("\n## Not measured\n\n");
        report.failures.iter().for_each(|failure| {
            let _ = writeln!(out, "- {failure}");
        });
    }
    out
}
