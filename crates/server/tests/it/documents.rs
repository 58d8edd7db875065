//! README.md and the pages of docs/: their commands are run, their configuration is checked.
//!
//! Every block of code names its language, and every block is tested unless a comment above it says why not:
//!
//! | block | is tested so |
//! |---|---|
//! | `console` | Lines with `$ ` are run, in one shell a page; the others are their output: [`page::matches`] |
//! | `yaml` | `plexus config check` finds nothing wrong with it |
//! | `json` | It can be parsed |
//!
//! | comment | means |
//! |---|---|
//! | `<!-- exits 1 -->` | The last command of the block exits with that code |
//! | `<!-- file: NAME -->` | The block is written to that file, for the commands after it |
//! | `<!-- into homeserver.yaml -->` | The block also replaces options in `plexus-data/homeserver.yaml` |
//! | `<!-- not run: REASON -->` | The block is not tested |
//! | `<!-- run: COMMAND -->` | The command is run there, and not shown to readers; it needs no block |

mod page;
mod session;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use plexus_testkit::skip;

use page::{Page, Step};
use session::Session;

/// How many pages are tried at the same time: a page mostly waits for a server to start.
const PARALLEL_PAGES: usize = 3;

/// A page that a program writes, and one whose commands measure for minutes.
const UNTESTED: [&str; 2] = ["docs/config.md", "docs/benchmarks-parts.md"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns README.md and the pages of docs/ that people write, in the order of their names.
fn pages() -> Vec<Page> {
    let root = root();
    let in_docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = in_docs.map(|name| format!("docs/{}", name.to_string_lossy())).collect();
    let is_page = |name: &str| Path::new(name).extension().is_some_and(|it| it == "md");
    names.retain(|name| is_page(name) && !UNTESTED.contains(&name.as_str()));
    names.push("README.md".to_owned());
    names.sort();
    names.into_iter().map(|name| Page::parse(&name, &fs::read_to_string(root.join(&name)).unwrap())).collect()
}

#[test]
fn every_block_is_tested_or_says_why_not() {
    let complaints: Vec<String> = pages().into_iter().flat_map(|page| page.complaints).collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// The tables whose first column is called `message` quote the program.
#[test]
fn messages_in_tables_are_the_programs() {
    let mut source = String::new();
    read_source(&root().join("crates"), &mut source);
    let unbroken = regex::Regex::new(r"\\\n\s*").unwrap().replace_all(&source, "");
    let pages: Vec<_> = pages().into_iter().filter(|page| !page.messages.is_empty()).collect();
    assert!(pages.len() > 2, "pages with messages are found");
    let is_said = |message: &str| message.split("...").all(|part| unbroken.contains(part));
    let complaints: Vec<String> = pages
        .iter()
        .flat_map(|page| page.messages.iter().map(move |(line, message)| (&page.name, line, message)))
        .filter(|(.., message)| !is_said(message))
        .map(|(name, line, message)| format!("{name}:{line}: the program does not say {message:?}"))
        .collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// Adds the text of all Rust files below `folder` that are not tests.
fn read_source(folder: &Path, source: &mut String) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "tests") {
            read_source(&path, source);
        } else if path.extension().is_some_and(|it| it == "rs") {
            source.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn commands_print_what_the_pages_say() {
    if let Err(reason) = session::requirements() {
        return skip("the commands of the documents", &reason);
    }
    let mut pages = pages();
    pages.retain(|page| !page.steps.is_empty());
    assert!(pages.len() > 8, "pages with commands are found");
    if let Ok(only) = std::env::var("PLEXUS_PAGE") {
        pages.retain(|page| page.name.contains(&only));
    }
    let waiting = Mutex::new(pages);
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..PARALLEL_PAGES {
            scope.spawn(|| {
                while let Some(page) = { waiting.lock().unwrap().pop() } {
                    let failed = run(&page);
                    failures.lock().unwrap().extend(failed);
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// Runs the commands of a page. Returns what is not as the page says.
fn run(page: &Page) -> Option<String> {
    let missing: Vec<&str> = session::missing_programs(page);
    if !missing.is_empty() {
        let missing = format!("not installed: {}", missing.join(", "));
        skip(&format!("the commands of {}", page.name), &missing);
        return None;
    }
    let outputs = Session::new(page).run();
    for (step, output) in page.steps.iter().zip(&outputs) {
        let (line, what) = (step.line(), step.command());
        let Some(output) = output else {
            return Some(format!("{}:{line}: {what}: was not run to its end", page.name));
        };
        if output.code != step.exit_code() {
            return Some(format!("{}:{line}: {what}: exited with {}\n{}", page.name, output.code, output.text));
        }
        if let Step::Command { expected, .. } = step
            && !page::matches(expected, &output.text)
        {
            let expected = expected.join("\n");
            return Some(format!("{}:{line}: {what}\nprinted:\n{}\nnot:\n{expected}", page.name, output.text));
        }
    }
    None
}
