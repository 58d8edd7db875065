//! What packages install beside the program, the Debian package, and the container's image.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use plexus_testkit::skip;

use crate::binary::{plexus, stderr, stdout, temporary_folder};

/// The exposure of the service to the rest of the system that is accepted at most, in tenths of systemd's scale of 10.
const MAX_EXPOSURE: &str = "--threshold=20";

/// What the scripts of the tests run in: what they mount, listen on and start ends with them.
const NAMESPACES: [&str; 6] = ["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn contributed(file: &str) -> PathBuf {
    workspace().join("contrib").join(file)
}

#[test]
fn the_service_is_shut_off_from_the_system() {
    let unit = contributed("systemd/plexus.service");
    let analysis = Command::new("systemd-analyze")
        .args(["security", "--offline=yes", "--no-pager", MAX_EXPOSURE])
        .arg(&unit)
        .output();
    let Ok(analysis) = analysis else { return skip("systemd-analyze", &"it is not installed") };
    assert!(analysis.status.success(), "{}{}", stdout(&analysis), stderr(&analysis));

    // The only complaints are about what is not installed here.
    let socket = contributed("systemd/plexus.socket");
    let verified = Command::new("systemd-analyze").arg("verify").args([&unit, &socket]).output().unwrap();
    let is_known = |line: &str| line.contains("/usr/bin/plexus is not executable") || line.contains("man plexus(1)");
    let complaints = stderr(&verified);
    assert!(complaints.lines().all(is_known), "{complaints}");

    let users =
        Command::new("systemd-sysusers").arg("--dry-run").arg(contributed("systemd/plexus.sysusers.conf")).output();
    let users = users.unwrap();
    assert!(users.status.success(), "{}", stderr(&users));
}

/// Follows what `--help` says, and so does not depend on how pages are made.
#[test]
fn each_command_has_a_manual_page() {
    fn add_commands(path: &[String], found: &mut BTreeSet<String>) {
        found.insert(format!("plexus-{}.1", path.join("-")).replace("plexus-.1", "plexus.1"));
        let help = stdout(&plexus().args(path).arg("--help").output().unwrap());
        let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
        for line in commands.take_while(|line| !line.is_empty()) {
            let name = line.split_whitespace().next().unwrap();
            if name != "help" {
                add_commands(&[path, &[name.to_owned()]].concat(), found);
            }
        }
    }
    let mut commands = BTreeSet::new();
    add_commands(&[], &mut commands);
    assert!(commands.len() > 30 && commands.contains("plexus-user-lock.1"), "{commands:?}");

    let folder = temporary_folder();
    assert!(plexus().args(["man", "--output-dir"]).arg(&folder).output().unwrap().status.success());
    let names = fs::read_dir(&folder).unwrap().map(|page| page.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.collect::<BTreeSet<_>>(), commands);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn the_debian_package_is_installed_upgraded_and_purged() {
    if let Err(missing) = find_programs(&["dpkg-deb", "unshare", "ip", "curl", "strip", "lintian"]) {
        return skip("the Debian package", &missing);
    }
    let folder = temporary_folder();
    let program = stripped_program(&folder);
    let made = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--locked", "--package", "xtask", "--", "dist", "--binary"])
        .arg(&program)
        .arg("--output")
        .arg(folder.join("dist"))
        .current_dir(workspace())
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", stderr(&made));
    let files = fs::read_dir(folder.join("dist")).unwrap().map(|file| file.unwrap().path());
    let package = files.into_iter().find(|file| file.extension().is_some_and(|extension| extension == "deb")).unwrap();

    // Only Debian's own first packages close a bug.
    let complaints = Command::new("lintian")
        .args(["--allow-root", "--fail-on=error,warning", "--suppress-tags=initial-upload-closes-no-bugs"])
        .arg(&package)
        .output()
        .unwrap();
    assert!(complaints.status.success(), "{}{}", stdout(&complaints), stderr(&complaints));
    run_script("debian.sh", &folder, &package);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn the_container_serves() {
    if let Err(missing) = find_programs(&["buildah", "unshare", "ip", "curl", "strip"]) {
        return skip("the container", &missing);
    }
    let folder = temporary_folder();
    let program = stripped_program(&folder);
    run_script("container.sh", &folder, &program);
    fs::remove_dir_all(folder).unwrap();
}

/// Returns why the tests cannot install into a system of their own, if they cannot.
fn find_programs(programs: &[&str]) -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("only root can do that".to_owned());
    }
    if !workspace().join("tests/packaging/root.tar").exists() {
        return Err("run tests/packaging/install.sh".to_owned());
    }
    let is_installed = |program: &str| {
        let found = Command::new("which").arg(program).stdout(Stdio::null()).status();
        found.is_ok_and(|status| status.success())
    };
    match programs.iter().find(|program| !is_installed(program)) {
        Some(program) => Err(format!("{program} is not installed")),
        None => Ok(()),
    }
}

/// Returns a copy of the program in `folder`, without the symbols that releases do not have either.
fn stripped_program(folder: &Path) -> PathBuf {
    let program = folder.join("plexus");
    let stripped = Command::new("strip").arg("-o").arg(&program).arg(env!("CARGO_BIN_EXE_plexus")).output().unwrap();
    assert!(stripped.status.success(), "{}", stderr(&stripped));
    program
}

/// Runs a script of `tests/packaging`, which works in a folder of its own below `folder`.
fn run_script(name: &str, folder: &Path, argument: &Path) {
    let work = folder.join("work");
    fs::create_dir(&work).unwrap();
    let output = Command::new("unshare")
        .args(NAMESPACES)
        .arg(workspace().join("tests/packaging").join(name))
        .arg(work)
        .arg(argument)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{name}:\n{}{}", stdout(&output), stderr(&output));
}
