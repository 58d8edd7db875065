//! Reverse proxies in processes of their own, each with its file of `contrib/reverse-proxy`.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use plexus_testkit::{Certificate, every, skip};
use rustix::process::{Pid, Signal};

use crate::binary::{free_ports, temporary_folder};

/// How long a program may need to listen, in looks of a twentieth of a second.
const LOOKS: u32 = 600;

/// A program that can stand in front of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    Nginx,
    Apache,
    HaProxy,
    Caddy,
}

impl Program {
    pub(super) const ALL: [Self; 4] = [Self::Nginx, Self::Apache, Self::HaProxy, Self::Caddy];

    fn path(self) -> &'static str {
        match self {
            Self::Nginx => "/usr/sbin/nginx",
            Self::Apache => "/usr/sbin/apache2",
            Self::HaProxy => "/usr/sbin/haproxy",
            Self::Caddy => "/usr/bin/caddy",
        }
    }

    /// The name of its file in `contrib/reverse-proxy`.
    fn file(self) -> &'static str {
        match self {
            Self::Nginx => "nginx.conf",
            Self::Apache => "apache.conf",
            Self::HaProxy => "haproxy.cfg",
            Self::Caddy => "Caddyfile",
        }
    }
}

/// A running reverse proxy; stops when dropped.
pub(super) struct ReverseProxy {
    child: Child,
    folder: PathBuf,
    client_port: u16,
    federation_port: u16,
}

impl ReverseProxy {
    /// Starts a program in front of `upstream` with its contributed file, changed only where it names ports, hosts,
    /// certificates and the server, and where `edits` says so. `None`, said aloud, when it is not installed.
    pub(super) async fn start(program: Program, upstream: SocketAddr, edits: &[(&str, &str)]) -> Option<Self> {
        if !Path::new(program.path()).exists() {
            skip(program.file(), &format!("{} is not there", program.path()));
            return None;
        }
        let folder = temporary_folder();
        // Started by root, some become users of their own.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        let [client_port, federation_port] = free_ports();
        let site = Site { folder: &folder, client_port, federation_port, upstream };
        let mut text = site.contributed(program);
        for (from, to) in edits {
            assert!(text.contains(from), "{} does not hold {from:?}", program.file());
            text = text.replace(from, to);
        }
        fs::write(folder.join("site"), text).unwrap();
        let child = site.command(program);
        let proxy = Self { child, folder, client_port, federation_port };
        proxy.wait(program).await;
        Some(proxy)
    }

    async fn wait(&self, program: Program) {
        let mut looks = every(Duration::from_millis(50));
        for _ in 0..LOOKS {
            looks.tick().await;
            if [self.client_port, self.federation_port]
                .iter()
                .all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok())
            {
                return;
            }
        }
        panic!("{program:?} does not listen: {}", fs::read_to_string(self.folder.join("errors")).unwrap_or_default());
    }

    /// Where clients reach the server.
    pub(super) fn client_url(&self) -> String {
        format!("https://localhost:{}", self.client_port)
    }

    /// Where other servers reach it.
    pub(super) fn federation_url(&self) -> String {
        format!("https://localhost:{}", self.federation_port)
    }
}

impl Drop for ReverseProxy {
    fn drop(&mut self) {
        // Those that have processes of their own end them at this signal. Gone already is as good.
        let _ = rustix::process::kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// What the files of one reverse proxy name.
struct Site<'a> {
    folder: &'a Path,
    client_port: u16,
    federation_port: u16,
    upstream: SocketAddr,
}

impl Site<'_> {
    /// The contributed file, with this site's names.
    fn contributed(&self, program: Program) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contrib/reverse-proxy").join(program.file());
        let mut text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let paper = Certificate::shared();
        let (certificate, key) = (self.copied(paper.certificate(), "tls.crt"), self.copied(paper.key(), "tls.key"));
        let whole = self.folder.join("tls.pem");
        let pair = [paper.certificate(), paper.key()].map(|file| fs::read_to_string(file).unwrap());
        fs::write(&whole, pair.concat()).unwrap();
        let (client, federation) = (self.client_port, self.federation_port);
        let mut replace = |from: &str, to: String| {
            assert!(text.contains(from), "{} does not hold {from:?}", program.file());
            text = text.replace(from, &to);
        };
        replace("127.0.0.1:8008", self.upstream.to_string());
        match program {
            Program::Nginx => {
                replace("listen [::]:443 ssl http2;", String::new());
                replace("listen [::]:8448 ssl http2 default_server;", String::new());
                replace("listen 443", format!("listen 127.0.0.1:{client}"));
                replace("listen 8448", format!("listen 127.0.0.1:{federation}"));
                replace("/etc/letsencrypt/live/matrix.example.com/fullchain.pem", certificate);
                replace("/etc/letsencrypt/live/matrix.example.com/privkey.pem", key);
            }
            Program::Apache => {
                replace("<VirtualHost *:443 *:8448>", format!("<VirtualHost *:{client} *:{federation}>"));
                replace("Listen 8448", format!("Listen 127.0.0.1:{federation}"));
                replace("/etc/letsencrypt/live/matrix.example.com/fullchain.pem", certificate);
                replace("/etc/letsencrypt/live/matrix.example.com/privkey.pem", key);
            }
            Program::HaProxy => {
                replace("bind *:443", format!("bind 127.0.0.1:{client}"));
                replace("bind *:8448", format!("bind 127.0.0.1:{federation}"));
                replace(" matrix.example.com:443", format!(" localhost:{client}"));
                replace("/etc/haproxy/certs/matrix.example.com.pem", whole.display().to_string());
            }
            Program::Caddy => {
                let tls = format!("tls {certificate} {key}\n");
                replace("\nmatrix.example.com {", format!("\nlocalhost:{client} {{\n\t{tls}"));
                replace(
                    "\nexample.com:8448, matrix.example.com:8448 {",
                    format!("\nlocalhost:{federation} {{\n\t{tls}"),
                );
            }
        }
        text
    }

    /// A copy of a file that the program can read, whoever it is.
    fn copied(&self, from: &Path, name: &str) -> String {
        let copy = self.folder.join(name);
        fs::copy(from, &copy).unwrap();
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o644)).unwrap();
        copy.display().to_string()
    }

    fn command(&self, program: Program) -> Child {
        let folder = self.folder.display();
        let (main, arguments): (String, &[&str]) = match program {
            Program::Nginx => (
                format!(
                    "daemon off;\npid {folder}/pid;\nerror_log {folder}/errors;\nworker_processes 1;\nevents {{}}\n\
                     http {{\naccess_log off;\nclient_body_temp_path {folder}/body;\nproxy_temp_path {folder}/proxy;\n\
                     fastcgi_temp_path {folder}/fastcgi;\nuwsgi_temp_path {folder}/uwsgi;\nscgi_temp_path \
                     {folder}/scgi;\ninclude {folder}/site;\n}}\n"
                ),
                &["-c"],
            ),
            Program::Apache => {
                const MODULES: [&str; 9] = [
                    "mpm_event",
                    "authn_core",
                    "authz_core",
                    "ssl",
                    "socache_shmcb",
                    "proxy",
                    "proxy_http",
                    "headers",
                    "http2",
                ];
                let load = |name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n");
                let modules: String = MODULES.into_iter().map(load).collect();
                let user = if rustix::process::geteuid().is_root() { "User www-data\nGroup www-data\n" } else { "" };
                (
                    format!(
                        "ServerRoot {folder}\nServerName localhost\nPidFile {folder}/pid\nErrorLog {folder}/errors\n\
                         DefaultRuntimeDir {folder}\nMutex pthread\n{modules}{user}Listen 127.0.0.1:{}\nInclude \
                         {folder}/site\n",
                        self.client_port
                    ),
                    &["-DFOREGROUND", "-f"],
                )
            }
            Program::HaProxy => ("global\n    maxconn 1000\n".to_owned(), &["-db", "-f"]),
            Program::Caddy => (
                "{\n\tadmin off\n\tauto_https disable_redirects\n}\nimport site\n".to_owned(),
                &["run", "--adapter", "caddyfile", "--config"],
            ),
        };
        fs::write(self.folder.join("main"), main).unwrap();
        let mut command = Command::new(program.path());
        command.args(arguments).arg(self.folder.join("main"));
        if program == Program::HaProxy {
            command.arg("-f").arg(self.folder.join("site"));
        }
        let errors = fs::OpenOptions::new().create(true).append(true).open(self.folder.join("errors")).unwrap();
        command
            .current_dir(self.folder)
            .env("XDG_DATA_HOME", self.folder)
            .env("XDG_CONFIG_HOME", self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .unwrap()
    }
}
