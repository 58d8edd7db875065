//! The options page and the sample file are generated from the doc comments. `UPDATE_DOCS=1 cargo test -p plexus-base`
//! writes them; without it a difference is a failure.

use std::fmt::Write;

use super::super::{Field, Status, legacy, sections};

const PAGE_START: &str = r#"# Configuration

<!-- Made from the doc comments in crates/base/src/config by UPDATE_DOCS=1 cargo test -p plexus-base. -->

Plexus reads Synapse's `homeserver.yaml`. `-c` names a file or a folder and may be repeated; of a folder, the files that end
in `.yaml` are read in the order of their names. A later file replaces whole top-level options of an earlier one.

`plexus config check -c homeserver.yaml` says what is wrong, unknown or without effect, with file, line and option.

| what is written | means |
|---|---|
| boolean | `true`, `yes`, `on`, `1`, or `false`, `no`, `off`, `0`, without quotes; in quotes, as in Synapse, everything but `''` is true |
| duration | milliseconds, or a whole number with `s`, `m`, `h`, `d`, `w` or `y` (365 days) |
| size | bytes, or a whole number with `K`, `M`, `G` or `T`: powers of 1024; `KiB` and the like are understood, too |
| secret | a string; most have an option ending in `_path` that names a file to read it from instead |
| rate limit | `per_second`, how many actions a second in the long run, and `burst_count`, how many at once |
| path | relative paths are relative to the folder that the server is started in |

Numbers are as in YAML 1.1, as Synapse reads them: `1e6` is a string; write `1000000` or `1.0e+6`.

Options marked *not in effect yet* are checked, but do nothing in this version; those marked *nothing to do* are about
something that only Synapse has. Both are listed at start when they are set. Options marked *refused* do nothing in this
version either, but running without their effect would lose, hide or expose data, or weaken access control: the server
does not start while they are set to anything but their default. What is empty counts as not set.
"#;

#[test]
fn the_options_page_and_the_sample_file_are_up_to_date() {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs");
    for (name, text) in [("config.md", page()), ("homeserver.sample.yaml", sample())] {
        let path = format!("{docs}/{name}");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::create_dir_all(docs).expect("docs is writable");
            std::fs::write(&path, &text).expect("docs is writable");
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == text,
            "docs/{name} differs from the doc comments: run UPDATE_DOCS=1 cargo test -p plexus-base"
        );
    }
}

#[test]
fn the_sample_file_is_valid_once_required_options_are_set() {
    let mut text = String::new();
    for line in sample().lines() {
        // "# Text" explains; "#option" and "#  member" are options.
        let option = line.strip_prefix('#').filter(|rest| !rest.starts_with(' ') || rest.starts_with("  "));
        let _ = writeln!(text, "{}", option.unwrap_or(""));
    }
    let node = crate::yaml::parse(&text, 0).expect("the sample is YAML");
    let options: usize = sections().iter().map(|section| section.fields.len()).sum();
    assert_eq!(node.entries().len(), options);
    let report = super::super::parse(&text).expect_err("required options are missing");
    for error in &report.errors {
        let expected = ["required", "together with", "allowed is either", "is missing"];
        assert!(expected.iter().any(|part| error.message.contains(part)), "{error}");
    }
}

fn page() -> String {
    let mut page = PAGE_START.to_owned();
    for section in sections() {
        let _ = write!(page, "\n## {}\n\n{}\n", section.title, prose(section.doc));
        for field in &section.fields {
            let _ = write!(page, "\n### `{}`\n\n{}\n", field.name, about(field, true));
            members(&mut page, field, 0);
        }
    }
    page.push_str("\n## Options of the past\n\n");
    for (name, why) in legacy::names() {
        let _ = writeln!(page, "- `{name}`: {why}.");
    }
    page
}

/// The listed members of an object; the two members of rate limits are explained once.
fn listed_members(field: &Field) -> Vec<Field> {
    match field.members {
        Some(members) if field.kind != "rate limit" => members(),
        _ => Vec::new(),
    }
}

fn members(page: &mut String, field: &Field, depth: usize) {
    let members_of = listed_members(field);
    if depth == 0 && !members_of.is_empty() {
        page.push('\n');
    }
    for member in members_of {
        let _ = writeln!(
            page,
            "{}- `{}`: {}",
            "  ".repeat(depth),
            member.name,
            about(&member, field.status == Status::Acts)
        );
        members(page, &member, depth + 1);
    }
}

/// The doc comment, then type, default and, unless its parent's status says it all, status.
fn about(field: &Field, with_status: bool) -> String {
    let mut facts = field.kind.clone();
    let by_members = field.members.is_some() && field.kind == "object";
    match &field.default {
        _ if field.required => facts.push_str(", required"),
        Some(default) if !by_members && default != "null" => {
            let _ = write!(facts, ", default `{default}`");
        }
        _ => {}
    }
    match field.status {
        Status::Acts => {}
        Status::Refused(reason) => {
            let _ = write!(facts, "; *refused*: {reason}");
        }
        _ if !with_status => {}
        Status::Later => facts.push_str("; *not in effect yet*"),
        Status::Moot => facts.push_str("; *nothing to do*"),
    }
    format!("{} ({facts})", prose(field.doc))
}

fn prose(doc: &[&str]) -> String {
    let lines: Vec<&str> = doc.iter().map(|line| line.trim()).collect();
    lines.join(" ")
}

fn sample() -> String {
    let mut text =
        "# Every option of homeserver.yaml with its default. docs/config.md explains how they are written.\n\
        # Made from the doc comments in crates/base/src/config by UPDATE_DOCS=1 cargo test -p plexus-base.\n"
            .to_owned();
    for section in sections() {
        let _ = write!(text, "\n\n# {}\n#\n", section.title.to_uppercase());
        comment(&mut text, "# ", &prose(section.doc));
        for field in &section.fields {
            text.push('\n');
            comment(&mut text, "# ", &sentence(field, true));
            option(&mut text, field, "#", "#");
        }
    }
    text
}

fn sentence(field: &Field, with_status: bool) -> String {
    let status = match field.status {
        Status::Acts => String::new(),
        Status::Refused(reason) => format!(" Refused: {reason}."),
        _ if !with_status => String::new(),
        Status::Later => " Not in effect yet.".to_owned(),
        Status::Moot => " Nothing to do.".to_owned(),
    };
    format!("{}{status}", prose(field.doc))
}

/// One option: `first` precedes its name, `indent` its members.
fn option(text: &mut String, field: &Field, first: &str, indent: &str) {
    let members = listed_members(field);
    if members.is_empty() {
        let value = if field.required { "null" } else { field.default.as_deref().unwrap_or("null") };
        let _ = writeln!(text, "{first}{}: {value}", field.name);
        return;
    }
    let _ = writeln!(text, "{first}{}:", field.name);
    let mut inner = format!("{indent}  ");
    if field.kind.starts_with("object of") {
        let _ = writeln!(text, "{inner}name:");
        inner.push_str("  ");
    }
    let list = field.kind.starts_with("list of");
    for (index, member) in members.iter().enumerate() {
        let item = format!("{inner}  ");
        let deeper = if list { &item } else { &inner };
        comment(text, &format!("{deeper}# "), &sentence(member, field.status == Status::Acts));
        let first = match (list, index) {
            (true, 0) => format!("{inner}- "),
            _ => deeper.clone(),
        };
        option(text, member, &first, deeper);
    }
}

/// Wrapped at 100 columns.
fn comment(text: &mut String, before: &str, prose: &str) {
    let mut line = before.to_owned();
    for word in prose.split(' ') {
        if line.len() + word.len() > 100 && line.len() > before.len() {
            let _ = writeln!(text, "{}", line.trim_end());
            line = before.to_owned();
        }
        line.push_str(word);
        line.push(' ');
    }
    let _ = writeln!(text, "{}", line.trim_end());
}
