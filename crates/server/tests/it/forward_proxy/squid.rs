//! A real forward proxy: squid, in a process of its own.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use plexus_testkit::{Certificate, every, skip};
use rustix::process::{Pid, Signal};

use crate::binary::{free_ports, temporary_folder};

const PROGRAM: &str = "/usr/sbin/squid";
/// How long squid may need, in looks of a twentieth of a second.
const LOOKS: u32 = 600;

/// What users are asked for: name and password as they are written in the address of the proxy.
pub(super) const CREDENTIALS: &str = "plexus:p%40ss%3Aw%2Frd";

/// Says OK to those credentials alone. Squid hands them over percent-encoded where they hold special characters.
const AUTHENTICATOR: &str = "#!/bin/sh
while read -r line; do
    case \"$line\" in 'plexus p@ss:w/rd' | 'plexus p%40ss%3Aw%2Frd') echo OK ;; *) echo ERR ;; esac
done
";

/// A squid that asks for a user name and password; stops when dropped.
pub(super) struct Squid {
    child: Child,
    folder: PathBuf,
    /// `host:port` of its ports: in the clear and with TLS.
    pub(super) plain: String,
    pub(super) encrypted: String,
}

impl Squid {
    /// Starts one; `None`, said aloud, when it is not installed.
    pub(super) async fn start() -> Option<Self> {
        if !Path::new(PROGRAM).exists() {
            skip("squid", &format!("{PROGRAM} is not there"));
            return None;
        }
        let folder = temporary_folder();
        // Started by root it becomes a user of its own.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        let authenticator = folder.join("authenticator.sh");
        fs::write(&authenticator, AUTHENTICATOR).unwrap();
        fs::set_permissions(&authenticator, fs::Permissions::from_mode(0o755)).unwrap();
        let [plain, encrypted] = free_ports();
        fs::write(folder.join("squid.conf"), configuration(&folder, plain, encrypted)).unwrap();
        let child = Command::new(PROGRAM)
            .args(["-N", "-n", &format!("plexus{plain}"), "-f"])
            .arg(folder.join("squid.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("errors")).unwrap())
            .spawn()
            .unwrap();
        let squid =
            Self { child, folder, plain: format!("127.0.0.1:{plain}"), encrypted: format!("localhost:{encrypted}") };
        squid.wait_for("squid does not listen", || TcpStream::connect(("127.0.0.1", encrypted)).ok()).await;
        Some(squid)
    }

    /// Waits until `look` finds something.
    async fn wait_for<T>(&self, what: &str, look: impl Fn() -> Option<T>) -> T {
        let mut looks = every(Duration::from_millis(50));
        for _ in 0..LOOKS {
            looks.tick().await;
            if let Some(found) = look() {
                return found;
            }
        }
        panic!("{what}: {}\n{}\n{}", self.read("errors"), self.read("cache.log"), self.read("access.log"));
    }

    /// Stops it. Returns its log, which has a line for each tunnel that was opened or refused.
    pub(super) async fn stop(mut self) -> Log {
        rustix::process::kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let mut looks = every(Duration::from_millis(50));
        for _ in 0..LOOKS {
            looks.tick().await;
            if self.child.try_wait().unwrap().is_some() {
                return Log(self.read("access.log"));
            }
        }
        panic!("squid does not stop");
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.folder.join(file)).unwrap_or_default()
    }
}

impl Drop for Squid {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// What a squid did.
pub(super) struct Log(String);

impl Log {
    /// Whether it opened a tunnel to `host:port` for the user.
    pub(super) fn has_tunnel_to(&self, target: &str) -> bool {
        self.has("TCP_TUNNEL/200", &format!(" CONNECT {target} plexus "))
    }

    /// Whether it refused a tunnel to `host:port` for want of credentials.
    pub(super) fn has_refused(&self, target: &str) -> bool {
        self.has("TCP_DENIED/407", &format!(" CONNECT {target} "))
    }

    fn has(&self, result: &str, request: &str) -> bool {
        self.0.lines().any(|line| line.contains(result) && line.contains(request))
    }
}

fn configuration(folder: &Path, plain: u16, encrypted: u16) -> String {
    let (folder, paper) = (folder.display(), Certificate::shared());
    // Where it can read them, whoever it is.
    let [certificate, key] = [("tls.crt", paper.certificate()), ("tls.key", paper.key())].map(|(name, from)| {
        let copy = Path::new(&folder.to_string()).join(name);
        fs::copy(from, &copy).unwrap();
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o644)).unwrap();
        copy.display().to_string()
    });
    format!(
        "http_port 127.0.0.1:{plain}
https_port 127.0.0.1:{encrypted} tls-cert={certificate} tls-key={key}
auth_param basic program {folder}/authenticator.sh
auth_param basic children 2 startup=1
acl known proxy_auth REQUIRED
http_access deny !known
http_access allow known
access_log stdio:{folder}/access.log
buffered_logs off
cache_log {folder}/cache.log
cache deny all
pid_filename none
pinger_enable off
visible_hostname proxy.example
shutdown_lifetime 0 seconds
"
    )
}
