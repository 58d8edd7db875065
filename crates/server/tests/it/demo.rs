//! `plexus demo`: three servers in one command.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::binary::{plexus, stderr, stdout, temporary_folder};

/// Three ports in a row that are free, as are those 400 above. They are below those that the system gives to
/// connections and to listeners on port 0, so that no other test takes them in between.
fn free_ports() -> u16 {
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let trio = |port: &u16| (*port..port + 3).all(|port| free(port) && free(port + 400));
    (20_000..30_000).step_by(3).find(trio).expect("there are free ports")
}

#[test]
fn three_servers_talk_and_stop() {
    let folder = temporary_folder();
    let port = free_ports();
    let demo = || -> Command {
        let mut command = plexus();
        command.args(["demo", "--port", &port.to_string(), "--data-dir"]).arg(&folder);
        command
    };
    let once = demo().arg("--once").output().unwrap();
    let said = stdout(&once);
    assert!(once.status.success(), "{said}{}", stderr(&once));
    for server in 0..3 {
        let user = format!("@demo:localhost:{}", port + 400 + server);
        assert!(said.contains(&format!("{user} has read what all 3 said")), "{said}");
    }
    assert!(said.ends_with("All three have stopped\n"), "{said}");

    // Again, on what the first time left; and until somebody ends it.
    let mut child = demo().stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.starts_with("They run until Ctrl-C")));
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(lines.last().as_deref(), Some("All three have stopped"));
    assert!(child.wait().unwrap().success());

    // A port that is taken.
    let _taken = TcpListener::bind(("127.0.0.1", port + 1)).unwrap();
    let refused = demo().arg("--once").output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains(&(port + 1).to_string()), "{}", stderr(&refused));
    fs::remove_dir_all(folder).unwrap();
}
