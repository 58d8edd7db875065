//! The real binary, in a folder of its own, on a port of its own.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use plexus_testkit::{TestPlace, unique_name};

/// A folder with a configuration made by `plexus generate-config`.
pub(crate) struct Installation {
    pub folder: PathBuf,
    pub port: u16,
}

/// How much of what a server prints is kept of each stream, in bytes: the last part.
const MAX_KEPT_BYTES: usize = 1024 * 1024;

/// A running `plexus serve`, killed when dropped. If the test has failed, it prints then what the server has printed.
pub(crate) struct Server {
    child: Child,
    notify: UnixDatagram,
    stdout: Printed,
    stderr: Printed,
}

/// The last part of what a process prints. A thread reads it: a pipe holds 64 KiB, and whoever writes more waits.
struct Printed {
    kept: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

/// The command, quiet about the terminal.
pub(crate) fn plexus() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plexus"));
    command.stdin(Stdio::null()).env_remove("NOTIFY_SOCKET");
    // Other servers of the tests are on this machine.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().to_ascii_lowercase().ends_with("_proxy") {
            command.env_remove(name);
        }
    }
    command
}

/// Standard error as text.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Standard output as text.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn temporary_folder() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("plexus-it-{}", unique_name()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// A port nobody listens on.
pub(crate) fn free_port() -> u16 {
    let [port] = free_ports();
    port
}

/// As many ports, all different.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

impl Installation {
    pub(crate) fn new() -> Self {
        let folder = temporary_folder();
        let made = plexus()
            .args(["generate-config", "--server-name", "it.example", "--config-dir"])
            .arg(&folder)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", stderr(&made));
        let port = free_port();
        let installation = Self { folder, port };
        installation.edit("port: 8008", &format!("port: {port}"));
        installation
    }

    /// As [`Installation::new`], on a database of its own choosing.
    pub(crate) fn on(place: &TestPlace) -> Self {
        let installation = Self::new();
        let file = installation.folder.join("homeserver.db");
        let made = format!("database:\n  name: sqlite3\n  args:\n    database: {:?}\n", file.display().to_string());
        installation.edit(&made, &place.homeserver_yaml());
        installation
    }

    pub(crate) fn yaml(&self) -> PathBuf {
        self.folder.join("homeserver.yaml")
    }

    /// Replaces text in homeserver.yaml.
    pub(crate) fn edit(&self, old: &str, new: &str) {
        let text = fs::read_to_string(self.yaml()).unwrap();
        assert!(text.contains(old), "homeserver.yaml does not hold {old:?}");
        fs::write(self.yaml(), text.replace(old, new)).unwrap();
    }

    /// Adds text to homeserver.yaml.
    pub(crate) fn add(&self, more: &str) {
        let text = fs::read_to_string(self.yaml()).unwrap();
        fs::write(self.yaml(), text + more).unwrap();
    }

    /// `plexus COMMAND --config-path homeserver.yaml`
    pub(crate) fn command(&self, name: &str) -> Command {
        let mut command = plexus();
        command.arg(name).arg("--config-path").arg(self.yaml());
        command
    }

    /// `plexus register` against this server.
    pub(crate) fn register(&self, arguments: &[&str]) -> Output {
        plexus().args(["register", "-c"]).arg(self.yaml()).args(arguments).output().unwrap()
    }

    /// Starts the server and waits until it listens.
    pub(crate) fn start(&self) -> Server {
        Server::spawn(self.command("serve"), &self.folder)
    }

    /// Runs `plexus serve`, which must fail: with exit code 1 and one sentence, that is answered.
    pub(crate) fn refused(&self) -> String {
        let output = self.command("serve").output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        let said = stderr(&output);
        let mut sentences = said.lines().filter(|line| line.starts_with("plexus: "));
        let sentence = sentences.next().unwrap_or_else(|| panic!("no sentence in {said}"));
        assert_eq!(sentences.next(), None);
        sentence.to_owned()
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        // In the temporary folder anyway.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Server {
    /// Starts `command` and waits until it says READY=1.
    pub(crate) fn spawn(mut command: Command, folder: &Path) -> Self {
        let socket = folder.join(format!("notify-{}", unique_name()));
        let notify = UnixDatagram::bind(&socket).unwrap();
        notify.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut child =
            command.env("NOTIFY_SOCKET", &socket).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (stdout, stderr) = (Printed::of(child.stdout.take().unwrap()), Printed::of(child.stderr.take().unwrap()));
        let server = Self { child, notify, stdout, stderr };
        assert_eq!(server.notification().lines().next(), Some("READY=1"));
        server
    }

    /// The next thing the server tells systemd.
    pub(crate) fn notification(&self) -> String {
        let mut buffer = [0_u8; 256];
        let length = self.notify.recv(&mut buffer).expect("the server says something within a minute");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    /// The process's number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// A line of `/proc/PID/status` that is about memory, in MiB.
    pub(crate) fn memory(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).expect("this is Linux");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the line is there");
        let kilobytes: u64 = line.trim_matches([':', '\t', ' ']).trim_end_matches(" kB").parse().expect("a number");
        kilobytes / 1024
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Sends SIGTERM and waits for the end. Returns the exit status and what was printed.
    pub(crate) fn stop(self) -> Output {
        self.signal(rustix::process::Signal::TERM);
        self.wait()
    }

    pub(crate) fn wait(mut self) -> Output {
        let status = self.child.wait().unwrap();
        Output { status, stdout: self.stdout.whole(), stderr: self.stderr.whole() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            for (name, printed) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
                eprintln!("{name} of the server:\n{}", String::from_utf8_lossy(&printed.kept.lock()));
            }
        }
    }
}

impl Printed {
    fn of(mut stream: impl Read + Send + 'static) -> Self {
        let kept = Arc::<Mutex<Vec<u8>>>::default();
        let ours = Arc::clone(&kept);
        let read = move || {
            let mut chunk = [0; 8192];
            while let Ok(length @ 1..) = stream.read(&mut chunk) {
                let mut kept = ours.lock();
                kept.extend_from_slice(&chunk[..length]);
                if kept.len() > 2 * MAX_KEPT_BYTES {
                    let excess = kept.len() - MAX_KEPT_BYTES;
                    kept.drain(..excess);
                }
            }
        };
        Self { kept, reader: Some(std::thread::spawn(read)) }
    }

    /// Waits until nothing more can be printed.
    fn whole(&mut self) -> Vec<u8> {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        std::mem::take(&mut *self.kept.lock())
    }
}
