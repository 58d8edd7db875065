//! Questions on a terminal.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::LocalModes;

use crate::binary::{Installation, plexus};

/// A program on a terminal of its own, and who types there.
struct Terminal {
    keyboard: File,
    child: Child,
    shown: String,
}

impl Terminal {
    fn run(mut command: Command) -> Self {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        let name = ptsname(&keyboard, Vec::new()).unwrap();
        let screen = || rustix::fs::open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        let child = command.stdin(screen()).stdout(screen()).stderr(screen()).spawn().unwrap();
        Self { keyboard: keyboard.into(), child, shown: String::new() }
    }

    /// Reads a part of what is shown; false at the end.
    fn read(&mut self) -> bool {
        let minute = Timespec { tv_sec: 60, tv_nsec: 0 };
        let ready = poll(&mut [PollFd::new(&self.keyboard, PollFlags::IN)], Some(&minute)).unwrap();
        assert!(ready > 0, "nothing more is shown than: {}", self.shown);
        let mut part = [0_u8; 1_024];
        match self.keyboard.read(&mut part) {
            Ok(length) if length > 0 => {
                self.shown.push_str(&String::from_utf8_lossy(&part[..length]));
                true
            }
            // Linux answers EIO once the last program has closed the terminal.
            _ => false,
        }
    }

    /// Waits until `question` is the last that is shown, and types the answer.
    fn answer(&mut self, question: &str, answer: &str) {
        while !self.shown.ends_with(question) {
            assert!(self.read(), "{question:?} was not asked: {}", self.shown);
        }
        writeln!(self.keyboard, "{answer}").unwrap();
    }

    fn end(mut self) -> (ExitStatus, String) {
        while self.read() {}
        (self.child.wait().unwrap(), self.shown)
    }
}

#[test]
fn register_asks_for_everything() {
    let installation = Installation::new();
    let server = installation.start();
    let register = || {
        let mut command = plexus();
        command.args(["register", "-c"]).arg(installation.yaml());
        Terminal::run(command)
    };
    let mut terminal = register();
    terminal.answer("New user: ", "alice");
    terminal.answer("Password: ", "");
    terminal.answer("must not be empty.\r\nPassword: ", "first secret");
    terminal.answer("Confirm password: ", "second secret");
    terminal.answer("The passwords differ.\r\nPassword: ", "third secret");
    terminal.answer("Confirm password: ", "third secret");
    terminal.answer("Make admin [no]: ", "yes");
    let (status, shown) = terminal.end();
    assert!(status.success(), "{shown}");
    assert!(shown.contains("Made @alice:it.example, an administrator."), "{shown}");
    assert!(shown.contains("New user: alice") && !shown.contains("secret"), "only passwords are hidden: {shown}");

    let mut terminal = register();
    terminal.answer("New user: ", "bob");
    terminal.answer("Password: ", "hidden");
    terminal.answer("Confirm password: ", "hidden");
    terminal.answer("Make admin [no]: ", "");
    let (status, shown) = terminal.end();
    assert!(status.success() && shown.contains("Made @bob:it.example."), "{shown}");
    server.stop();
}

#[test]
fn hash_password_asks_twice() {
    let mut command = plexus();
    command.arg("hash-password");
    let mut terminal = Terminal::run(command);
    terminal.answer("Password: ", "one");
    terminal.answer("Confirm password: ", "two");
    terminal.answer("The passwords differ.\r\nPassword: ", "three");
    terminal.answer("Confirm password: ", "three");
    let (status, shown) = terminal.end();
    assert!(status.success() && shown.contains("$argon2id$") && !shown.contains("three"), "{shown}");
}

/// Whether the terminal shows what is typed, and its keys end programs.
fn shows(terminal: &Terminal) -> bool {
    let modes = rustix::termios::tcgetattr(&terminal.keyboard).unwrap().local_modes;
    modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG)
}

#[test]
fn a_program_that_is_ended_during_a_question_leaves_the_terminal_as_it_was() {
    for signal in [Signal::TERM, Signal::HUP] {
        let mut command = plexus();
        command.arg("hash-password");
        let mut terminal = Terminal::run(command);
        while !terminal.shown.ends_with("Password: ") {
            assert!(terminal.read(), "{}", terminal.shown);
        }
        assert!(!shows(&terminal));
        let process = rustix::process::Pid::from_child(&terminal.child);
        rustix::process::kill_process(process, signal).unwrap();
        while terminal.read() {}
        assert!(shows(&terminal), "{signal:?}");
        let (status, shown) = terminal.end();
        assert_eq!(status.code(), Some(128 + signal.as_raw()), "{shown}");
    }
}

#[test]
fn an_interrupted_question_leaves_the_terminal_as_it_was() {
    let mut command = plexus();
    command.arg("hash-password");
    let mut terminal = Terminal::run(command);
    assert!(shows(&terminal));
    terminal.answer("Password: ", "once");
    while !terminal.shown.ends_with("Confirm password: ") {
        assert!(terminal.read(), "{}", terminal.shown);
    }
    assert!(!shows(&terminal));
    // Ctrl-C
    terminal.keyboard.write_all(b"half\x03").unwrap();
    while terminal.read() {}
    assert!(shows(&terminal));
    let (status, shown) = terminal.end();
    if is_interrupt_ignored() {
        assert_eq!(status.code(), Some(1), "{shown}");
    } else {
        assert_eq!(status.signal(), Some(Signal::INT.as_raw()), "{shown}");
    }
}

/// Whether the tests were started in the background by a shell, whose children ignore the signal.
fn is_interrupt_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").expect("readable");
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).expect("it lists signals");
    u64::from_str_radix(ignored.trim(), 16).expect("a mask") & (1 << (Signal::INT.as_raw() - 1)) != 0
}

#[test]
fn colours_can_be_switched_off() {
    for (no_color, coloured) in [("", true), ("1", false)] {
        let installation = Installation::new();
        let mut command = installation.command("serve");
        command.env("NO_COLOR", no_color);
        let mut terminal = Terminal::run(command);
        while !terminal.shown.contains("serves it.example") || !terminal.shown.contains("INFO") {
            assert!(terminal.read(), "it ended: {}", terminal.shown);
        }
        let pid = rustix::process::Pid::from_child(&terminal.child);
        rustix::process::kill_process(pid, Signal::TERM).unwrap();
        let (status, shown) = terminal.end();
        assert!(status.success());
        assert_eq!(shown.contains('\u{1b}'), coloured, "{shown}");
    }
}
