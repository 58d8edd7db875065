//! What packages install beside the program.

use std::path::{Path, PathBuf};
use std::process::Command;

use plexus_testkit::skip;

use crate::binary::{stderr, stdout};

/// The exposure of the service to the rest of the system that is accepted at most, in tenths of systemd's scale of 10.
const MAX_EXPOSURE: &str = "--threshold=20";

fn contributed(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contrib/systemd").join(file)
}

#[test]
fn the_service_is_shut_off_from_the_system() {
    let unit = contributed("plexus.service");
    let analysis = Command::new("systemd-analyze")
        .args(["security", "--offline=yes", "--no-pager", MAX_EXPOSURE])
        .arg(&unit)
        .output();
    let Ok(analysis) = analysis else { return skip("systemd-analyze", &"it is not installed") };
    assert!(analysis.status.success(), "{}{}", stdout(&analysis), stderr(&analysis));

    // The only complaint is about what is not installed here.
    let verified = Command::new("systemd-analyze").arg("verify").arg(&unit).output().unwrap();
    let is_known = |line: &str| line.contains("/usr/bin/plexus is not executable") || line.contains("man plexus(1)");
    let complaints = stderr(&verified);
    assert!(complaints.lines().all(is_known), "{complaints}");

    let users = Command::new("systemd-sysusers").arg("--dry-run").arg(contributed("plexus.sysusers.conf")).output();
    let users = users.unwrap();
    assert!(users.status.success(), "{}", stderr(&users));
}
