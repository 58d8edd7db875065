//! What is to be done with the blocks of a page.

/// How long a reason must be, in characters, to be one.
const MIN_REASON: usize = 12;

/// A page, as far as it is tested.
pub(super) struct Page {
    /// Its path in the source.
    pub(super) name: String,
    pub(super) steps: Vec<Step>,
    /// Blocks that are neither tested nor marked.
    pub(super) complaints: Vec<String>,
    /// Messages of the program that its tables explain, with their lines.
    pub(super) messages: Vec<(usize, String)>,
}

/// Something that is done, at a line of the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Runs a command, whose output the page shows.
    Command { line: usize, command: String, expected: Vec<String>, exit_code: i32 },
    /// Runs a command that the page does not show.
    Hidden { line: usize, command: String },
    /// Writes a file.
    File { line: usize, path: String, text: String },
    /// Replaces options in homeserver.yaml.
    Options { line: usize, text: String },
    /// Checks an excerpt of homeserver.yaml by itself.
    Check { line: usize, text: String },
}

impl Step {
    pub(super) fn line(&self) -> usize {
        match self {
            Self::Command { line, .. }
            | Self::Hidden { line, .. }
            | Self::File { line, .. }
            | Self::Options { line, .. }
            | Self::Check { line, .. } => *line,
        }
    }

    /// Returns what is done, in a few words.
    pub(super) fn command(&self) -> &str {
        match self {
            Self::Command { command, .. } | Self::Hidden { command, .. } => command,
            Self::File { path, .. } => path,
            Self::Options { .. } | Self::Check { .. } => "the configuration",
        }
    }

    pub(super) fn exit_code(&self) -> i32 {
        if let Self::Command { exit_code, .. } = self { *exit_code } else { 0 }
    }
}

/// A fenced block with the comment above it.
struct Block<'t> {
    line: usize,
    language: &'t str,
    comment: Option<&'t str>,
    text: String,
}

impl Page {
    pub(super) fn parse(name: &str, text: &str) -> Self {
        let (steps, complaints) = (Vec::new(), Vec::new());
        let mut page = Self { name: name.to_owned(), steps, complaints, messages: messages(text) };
        let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
        let mut comment = None;
        while let Some((line, content)) = lines.next() {
            if let Some(language) = content.trim_start().strip_prefix("```") {
                let indent = content.len() - content.trim_start().len();
                let inside = lines.by_ref().map(|(_, line)| line).take_while(|line| line.trim() != "```");
                let text: String = inside.map(|line| format!("{}\n", line.get(indent..).unwrap_or_default())).collect();
                page.add(&Block { line, language, comment: comment.take(), text });
                continue;
            }
            let Some(mark) = content.trim().strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->")) else {
                if content.starts_with("    ") && !content.trim_start().starts_with(['-', '*']) && comment.is_none() {
                    page.complain(line, "a block of code is fenced, and names its language");
                }
                comment = None;
                continue;
            };
            match mark.strip_prefix("run: ") {
                Some(command) => page.steps.push(Step::Hidden { line, command: command.to_owned() }),
                None => comment = Some(mark),
            }
        }
        page
    }

    fn complain(&mut self, line: usize, complaint: &str) {
        self.complaints.push(format!("{}:{line}: {complaint}", self.name));
    }

    fn add(&mut self, block: &Block<'_>) {
        let (line, text) = (block.line, block.text.clone());
        match (block.language, block.comment) {
            (_, Some(comment)) if comment.starts_with("not run: ") => {
                if comment.len() < "not run: ".len() + MIN_REASON {
                    self.complain(line, "the comment does not say why the block is not run");
                }
            }
            (_, Some(comment)) if comment.starts_with("file: ") => {
                self.steps.push(Step::File { line, path: comment["file: ".len()..].to_owned(), text });
            }
            ("console", comment) => {
                let exit_code = comment.and_then(|it| it.strip_prefix("exits ")?.parse().ok());
                if comment.is_some() && exit_code.is_none() {
                    self.complain(line, "the comment above the block is not understood");
                }
                self.add_commands(block, exit_code.unwrap_or(0));
            }
            ("yaml", None) => self.steps.push(Step::Check { line, text }),
            ("yaml", Some("into homeserver.yaml")) => self.steps.push(Step::Options { line, text }),
            ("json", None) => {
                if let Err(error) = serde_json::from_str::<serde_json::Value>(&text) {
                    self.complain(line, &error.to_string());
                }
            }
            (_, None) => self.complain(line, "nothing tests this block, and no comment above it says why"),
            (_, Some(_)) => self.complain(line, "the comment above the block is not understood"),
        }
    }

    /// Adds the commands of a block, the last of which exits with `exit_code`.
    fn add_commands(&mut self, block: &Block<'_>, exit_code: i32) {
        let mut commands: Vec<(usize, String, Vec<String>)> = Vec::new();
        let mut continues = false;
        for (index, content) in block.text.lines().enumerate() {
            match (content.strip_prefix("$ "), commands.last_mut()) {
                (_, Some((_, command, _))) if continues => *command += &format!("\n{content}"),
                (Some(command), _) => commands.push((block.line + index + 1, command.to_owned(), Vec::new())),
                (None, Some((.., expected))) => expected.push(content.to_owned()),
                (None, None) => {
                    self.complain(block.line, "a console block begins with a command: `$ plexus status`");
                    return;
                }
            }
            continues = content.ends_with('\\');
        }
        let last = commands.len();
        for (number, (line, command, expected)) in commands.into_iter().enumerate() {
            // README.md builds the program first.
            let command = command.replace("cargo run --release --", "plexus");
            let exit_code = if number + 1 == last { exit_code } else { 0 };
            self.steps.push(Step::Command { line, command, expected, exit_code });
        }
    }
}

/// Returns the quotations in the first column of the tables where that is called `message`.
fn messages(text: &str) -> Vec<(usize, String)> {
    let mut messages = Vec::new();
    let mut is_inside = false;
    for (index, line) in text.lines().enumerate() {
        is_inside = (is_inside && line.starts_with('|')) || line.starts_with("| message |");
        if is_inside && let Some(quotation) = line.strip_prefix("| `").and_then(|rest| rest.split('`').next()) {
            messages.push((index + 1, quotation.to_owned()));
        }
    }
    messages
}

/// Whether a command's output is what the page shows. There, `...` stands for any text; on a line of its own, for any
/// lines.
pub(super) fn matches(expected: &[String], printed: &str) -> bool {
    let printed: Vec<&str> = printed.lines().map(str::trim_end).collect();
    let text = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let pattern: String = expected
        .iter()
        .map(|line| match line.trim() {
            "..." => "(?s:.*)".to_owned(),
            _ => format!("{}\n", regex::escape(line.trim_end()).replace(r"\.\.\.", ".*")),
        })
        .collect();
    regex::Regex::new(&format!("^{pattern}$")).unwrap().is_match(&text(&printed))
}

#[test]
fn blocks_become_steps() {
    let text = "# Title\n\n```console\n$ plexus status\nrunning, process ...\n$ echo a \\\n  b\n```\n\n\
                <!-- exits 3 -->\n```console\n$ plexus stop\n```\n<!-- file: a.conf -->\n```conf\nx\n```\n\
                <!-- run: true -->\n<!-- not run: needs a network -->\n```console\n$ apt-get update\n```\n\
                ```yaml\na: 1\n```\n<!-- into homeserver.yaml -->\n```yaml\nb: 1\n```\n";
    let page = Page::parse("a.md", text);
    assert!(page.complaints.is_empty(), "{:?}", page.complaints);
    let command = |line, command: &str, expected: &[&str], exit_code| Step::Command {
        line,
        command: command.to_owned(),
        expected: expected.iter().map(|&line| line.to_owned()).collect(),
        exit_code,
    };
    assert_eq!(
        page.steps,
        [
            command(4, "plexus status", &["running, process ..."], 0),
            command(6, "echo a \\\n  b", &[], 0),
            command(12, "plexus stop", &[], 3),
            Step::File { line: 15, path: "a.conf".to_owned(), text: "x\n".to_owned() },
            Step::Hidden { line: 18, command: "true".to_owned() },
            Step::Check { line: 23, text: "a: 1\n".to_owned() },
            Step::Options { line: 27, text: "b: 1\n".to_owned() },
        ]
    );
}

#[test]
fn blocks_that_nothing_tests_are_found() {
    for text in [
        "```\nx\n```",
        "```ini\nx\n```",
        "    indented\n",
        "```json\n{\n```",
        "<!-- not run: why -->\n```console\n$ x\n```",
        "<!-- exits badly -->\n```console\n$ x\n```",
        "<!-- not run: a comment that stands elsewhere -->\n\ntext\n```ini\nx\n```",
        "```console\nno command\n```",
    ] {
        assert_eq!(Page::parse("a.md", text).complaints.len(), 1, "{text}");
    }
}

#[test]
fn tables_of_messages_are_found() {
    let text = "| message | cause |\n|---|---|\n| `one ... two` | x |\n| three | `y` |\n\n\
                | option | x |\n|---|---|\n| `no` | x |";
    assert_eq!(messages(text), [(3, "one ... two".to_owned())]);
}

#[test]
fn output_is_compared_line_by_line() {
    let expected = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    for (wanted, printed, is_match) in [
        ("running, process ...", "running, process 4\n", true),
        ("running, process ...", "running, process 4\nmore\n", false),
        ("a\n...\nb", "a\nx\ny\nb\n", true),
        ("a\n...\nb", "a\nb\n", true),
        ("a\n...\nb", "a\nc\n", false),
        ("", "", true),
        ("", "more", false),
        ("a.b", "axb\n", false),
    ] {
        assert_eq!(matches(&expected(wanted), printed), is_match, "{wanted} {printed}");
    }
}
