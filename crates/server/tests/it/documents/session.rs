//! Runs the steps of a page in one shell, in a folder, a network and a process table of their own. The pages name the
//! ports that everybody uses, and no process outlives its page.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::page::{Page, Step};
use super::root;
use crate::binary::{plexus, stderr, temporary_folder};

/// Programs that pages use and some machines lack.
const PROGRAMS: [&str; 8] = ["curl", "jq", "sqlite3", "turnserver", "turnutils_uclient", "initdb", "nginx", "squid"];

/// Functions of the prelude, and the programs that they start.
const FUNCTIONS: [(&str, &str); 3] =
    [("start_postgresql", "initdb"), ("start_nginx", "nginx"), ("start_squid", "squid")];

/// The most seconds for a page: a command that waits for ever fails its page, not the whole run.
const MAX_PAGE_SECONDS: &str = "300";

/// What the shell does before the first step.
const PRELUDE: &str = include_str!("prelude.sh");

/// A page's shell and its folder.
pub(super) struct Session<'p> {
    page: &'p Page,
    folder: PathBuf,
}

/// What a step has printed.
pub(super) struct Printed {
    pub(super) code: i32,
    pub(super) text: String,
}

/// Returns why no session can be begun here; only root can.
pub(super) fn requirements() -> Result<(), String> {
    let mut probe = isolated();
    let probe = probe.args(["sh", "-c", "ip link set lo up"]).output().map_err(|error| error.to_string())?;
    if probe.status.success() { Ok(()) } else { Err(format!("no network namespace can be made: {}", stderr(&probe))) }
}

/// Returns the programs of the page's commands that are not installed.
pub(super) fn missing_programs(page: &Page) -> Vec<&'static str> {
    let commands: Vec<&str> = page.steps.iter().map(Step::command).collect();
    let needs = |program: &str| {
        let is_word = |word: &str| word == program || FUNCTIONS.contains(&(word, program));
        commands.iter().any(|command| command.split(|c: char| !is_part_of_name(c)).any(is_word))
    };
    PROGRAMS.into_iter().filter(|program| needs(program) && !is_installed(program)).collect()
}

fn is_part_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '-'
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    let on_path = folders.into_iter().any(|folder| folder.join(program).is_file());
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    on_path || versions.into_iter().any(|version| version.path().join("bin").join(program).is_file())
}

/// Returns a command that runs another with a network and a process table of its own, which end with it.
fn isolated() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    command
}

impl<'p> Session<'p> {
    pub(super) fn new(page: &'p Page) -> Self {
        Self { page, folder: temporary_folder() }
    }

    /// Runs the steps until one fails. Returns what each has printed, which is nothing for those that were not run.
    pub(super) fn run(&self) -> Vec<Option<Printed>> {
        for folder in ["bin", "steps", "home"] {
            fs::create_dir(self.folder.join(folder)).unwrap();
        }
        let program = Path::new(env!("CARGO_BIN_EXE_plexus"));
        std::os::unix::fs::symlink(program, self.folder.join("bin/plexus")).unwrap();
        let script = self.script();
        fs::write(self.folder.join("script"), script).unwrap();
        let output = self.shell();
        let steps = self.page.steps.iter().enumerate();
        let printed: Vec<_> = steps.map(|(number, _)| self.printed(number)).collect();
        assert!(printed.iter().any(Option::is_some), "{}: {}", self.page.name, stderr(&output));
        printed
    }

    fn shell(&self) -> Output {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = isolated();
        for (name, _) in plexus().get_envs().filter(|(_, value)| value.is_none()) {
            command.env_remove(name);
        }
        command
            .args(["timeout", "--kill-after=5", MAX_PAGE_SECONDS, "bash"])
            .arg(self.folder.join("script"))
            .current_dir(self.folder.join("home"))
            .env("HOME", self.folder.join("home"))
            .env("PATH", format!("{}:{path}:/usr/sbin:/sbin", self.folder.join("bin").display()))
            .env("STEPS", self.folder.join("steps"))
            .env("CONTRIB", root().join("contrib"))
            .env("LC_ALL", "C.UTF-8")
            .env("NO_COLOR", "1")
            .env("TZ", "UTC")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Returns the script of all steps. Each writes its output and its exit code to files.
    fn script(&self) -> String {
        let mut script = PRELUDE.to_owned();
        for (number, step) in self.page.steps.iter().enumerate() {
            let text = self.folder.join(format!("steps/{number}.text"));
            let command = match step {
                Step::Command { command, .. } | Step::Hidden { command, .. } => command.clone(),
                Step::File { path, text: content, .. } => {
                    fs::write(&text, content).unwrap();
                    format!("write_file {path} {}", text.display())
                }
                Step::Options { text: content, .. } => {
                    fs::write(&text, content).unwrap();
                    format!("replace_options {}", text.display())
                }
                Step::Check { text: content, .. } => {
                    fs::write(&text, content).unwrap();
                    format!("check_options {}", text.display())
                }
            };
            script += &format!("{{ {command}\n}} >$STEPS/{number}.out 2>&1 </dev/null\n");
            script += &format!("ended {number} {} $?\n", step.exit_code());
        }
        script
    }

    fn printed(&self, number: usize) -> Option<Printed> {
        let read = |kind: &str| fs::read_to_string(self.folder.join(format!("steps/{number}.{kind}"))).ok();
        let code = read("code")?.trim().parse().ok()?;
        Some(Printed { code, text: read("out")? })
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        // In the temporary folder anyway.
        let _ = fs::remove_dir_all(&self.folder);
    }
}
