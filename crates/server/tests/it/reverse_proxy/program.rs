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
    pub(super) fn file(self) -> &'static str {
        match self {
            Self::Nginx => "nginx.conf",
            Self::Apache => "apache.conf",
            Self::HaProxy => "haproxy.cfg",
            Self::Caddy => "Caddyfile",
        }
    }

    /// The name of its file for delegation.
    fn delegation_file(self) -> &'static str {
        match self {
            Self::Nginx => "nginx-delegation.conf",
            Self::Apache => "apache-delegation.conf",
            Self::HaProxy => "haproxy-delegation.cfg",
            Self::Caddy => "Caddyfile.delegation",
        }
    }

    /// What its file says of a server at a port, and what it says of one at a unix socket.
    fn socket(self, path: &str) -> (&'static str, String) {
        match self {
            Self::Nginx => ("server 127.0.0.1:8008;", format!("server unix:{path};")),
            Self::Apache => {
                ("ProxyPass /_matrix http://127.0.0.1:8008", format!("ProxyPass /_matrix unix:{path}|http://localhost"))
            }
            Self::HaProxy => ("server plexus 127.0.0.1:8008", format!("server plexus unix@{path}")),
            Self::Caddy => ("reverse_proxy 127.0.0.1:8008", format!("reverse_proxy unix/{path}")),
        }
    }
}

/// Where a server listens for its reverse proxy.
#[derive(Debug, Clone)]
pub(super) enum Upstream {
    Port(SocketAddr),
    Socket(PathBuf),
}

/// A running reverse proxy; stops when dropped.
pub(super) struct ReverseProxy {
    child: Child,
    folder: PathBuf,
    client_port: u16,
    federation_port: u16,
    delegation_port: u16,
}

impl ReverseProxy {
    /// Starts a program in front of `upstream` with its contributed files, changed only where they name ports, hosts,
    /// certificates and the server, and the first of them where `edits` says so. `None`, said aloud, when it is not
    /// installed.
    pub(super) async fn start(program: Program, upstream: Upstream, edits: &[(&str, &str)]) -> Option<Self> {
        Self::start_edited(program, upstream, edits, &[]).await
    }

    /// As [`Self::start`]; the file for delegation is edited.
    pub(super) async fn start_delegating(program: Program, upstream: Upstream, edits: &[(&str, &str)]) -> Option<Self> {
        Self::start_edited(program, upstream, &[], edits).await
    }

    async fn start_edited(
        program: Program,
        upstream: Upstream,
        edits: &[(&str, &str)],
        delegation_edits: &[(&str, &str)],
    ) -> Option<Self> {
        if !Path::new(program.path()).exists() {
            skip(program.file(), &format!("{} is not there", program.path()));
            return None;
        }
        let folder = temporary_folder();
        // Started by root, some become users of their own.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        let [client_port, federation_port, delegation_port] = free_ports();
        let site = Site::new(&folder, [client_port, federation_port, delegation_port], upstream);
        let mut text = site.contributed(program);
        for (from, to) in edits {
            assert!(text.contains(from), "{} does not hold {from:?}", program.file());
            text = text.replace(from, to);
        }
        fs::write(folder.join("site"), text).unwrap();
        let mut delegation = site.delegation(program);
        for (from, to) in delegation_edits {
            assert!(delegation.contains(from), "{} does not hold {from:?}", program.delegation_file());
            delegation = delegation.replace(from, to);
        }
        fs::write(folder.join("delegation"), delegation).unwrap();
        let child = site.command(program);
        let proxy = Self { child, folder, client_port, federation_port, delegation_port };
        proxy.wait(program).await;
        Some(proxy)
    }

    async fn wait(&self, program: Program) {
        let mut looks = every(Duration::from_millis(50));
        for _ in 0..LOOKS {
            looks.tick().await;
            let ports = [self.client_port, self.federation_port, self.delegation_port];
            if ports.iter().all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok()) {
                return;
            }
        }
        panic!("{program:?} does not listen: {}", fs::read_to_string(self.folder.join("errors")).unwrap_or_default());
    }

    /// Where clients reach the server.
    pub(super) fn client_url(&self) -> String {
        format!("https://localhost:{}", self.client_port)
    }

    /// The port for `https://matrix.example.com/`.
    pub(super) fn client_port(&self) -> u16 {
        self.client_port
    }

    /// The port for other servers.
    pub(super) fn federation_port(&self) -> u16 {
        self.federation_port
    }

    /// The port for `https://example.com/`, which delegates.
    pub(super) fn delegation_port(&self) -> u16 {
        self.delegation_port
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
    delegation_port: u16,
    upstream: Upstream,
    certificate: String,
    key: String,
    /// Certificate and key in one file.
    pair: String,
}

impl<'a> Site<'a> {
    fn new(folder: &'a Path, ports: [u16; 3], upstream: Upstream) -> Self {
        let [client_port, federation_port, delegation_port] = ports;
        let paper = Certificate::shared();
        // The program can read these, whoever it is.
        let copied = |text: String, name: &str| {
            let copy = folder.join(name);
            fs::write(&copy, text).unwrap();
            fs::set_permissions(&copy, fs::Permissions::from_mode(0o644)).unwrap();
            copy.display().to_string()
        };
        let [certificate, key] = [paper.certificate(), paper.key()].map(|file| fs::read_to_string(file).unwrap());
        let pair = copied(format!("{certificate}{key}"), "tls.pem");
        let (certificate, key) = (copied(certificate, "tls.crt"), copied(key, "tls.key"));
        Self { folder, client_port, federation_port, delegation_port, upstream, certificate, key, pair }
    }
}

/// The text of a contributed file.
struct Contributed {
    name: String,
    text: String,
}

impl Contributed {
    fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contrib/reverse-proxy").join(name);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { name: name.to_owned(), text }
    }

    fn replace(&mut self, from: &str, to: &str) {
        assert!(self.text.contains(from), "{} does not hold {from:?}", self.name);
        self.text = self.text.replace(from, to);
    }
}

impl Site<'_> {
    /// The contributed file, with this site's names.
    fn contributed(&self, program: Program) -> String {
        let mut file = Contributed::read(program.file());
        match &self.upstream {
            Upstream::Port(address) => file.replace("127.0.0.1:8008", &address.to_string()),
            Upstream::Socket(path) => {
                let (from, to) = program.socket(&path.display().to_string());
                file.replace(from, &to);
            }
        }
        let (client, federation) = (self.client_port, self.federation_port);
        match program {
            Program::Nginx => {
                file.replace("listen [::]:443 ssl http2;", "");
                file.replace("listen [::]:8448 ssl http2 default_server;", "");
                file.replace("listen 443", &format!("listen 127.0.0.1:{client}"));
                file.replace("listen 8448", &format!("listen 127.0.0.1:{federation}"));
                file.replace("/etc/letsencrypt/live/matrix.example.com/fullchain.pem", &self.certificate);
                file.replace("/etc/letsencrypt/live/matrix.example.com/privkey.pem", &self.key);
            }
            Program::Apache => {
                file.replace("<VirtualHost *:443 *:8448>", &format!("<VirtualHost *:{client} *:{federation}>"));
                file.replace("Listen 8448", &format!("Listen 127.0.0.1:{federation}"));
                file.replace("/etc/letsencrypt/live/matrix.example.com/fullchain.pem", &self.certificate);
                file.replace("/etc/letsencrypt/live/matrix.example.com/privkey.pem", &self.key);
            }
            Program::HaProxy => {
                file.replace("bind *:443", &format!("bind 127.0.0.1:{client}"));
                file.replace("bind *:8448", &format!("bind 127.0.0.1:{federation}"));
                file.replace(" matrix.example.com:443", &format!(" matrix.example.com:443 localhost:{client}"));
                file.replace("/etc/haproxy/certs/matrix.example.com.pem", &self.pair);
            }
            Program::Caddy => {
                let tls = format!("tls {} {}", self.certificate, self.key);
                file.replace(
                    "\nmatrix.example.com {",
                    &format!("\nmatrix.example.com:{client}, localhost:{client} {{\n\t{tls}\n"),
                );
                file.replace(
                    "\nexample.com:8448, matrix.example.com:8448 {",
                    &format!("\nexample.com:{federation}, localhost:{federation} {{\n\t{tls}\n"),
                );
            }
        }
        file.text
    }

    /// The contributed file for delegation, with this site's names.
    fn delegation(&self, program: Program) -> String {
        let mut file = Contributed::read(program.delegation_file());
        let port = self.delegation_port;
        match program {
            Program::Nginx => {
                file.replace("listen [::]:443 ssl http2;", "");
                file.replace("listen 443", &format!("listen 127.0.0.1:{port}"));
                file.replace("/etc/letsencrypt/live/example.com/fullchain.pem", &self.certificate);
                file.replace("/etc/letsencrypt/live/example.com/privkey.pem", &self.key);
            }
            Program::Apache => {
                file.replace("<VirtualHost *:443>", &format!("<VirtualHost *:{port}>"));
                file.replace("/etc/letsencrypt/live/example.com/fullchain.pem", &self.certificate);
                file.replace("/etc/letsencrypt/live/example.com/privkey.pem", &self.key);
                file.replace("/var/www/matrix", &self.folder.join("matrix").display().to_string());
                write_documents(&file.text);
                file.text.insert_str(0, &format!("Listen 127.0.0.1:{port}\n"));
            }
            Program::HaProxy => {
                file.replace("bind *:443", &format!("bind 127.0.0.1:{port}"));
                file.replace("/etc/haproxy/certs/example.com.pem", &self.pair);
            }
            Program::Caddy => {
                let tls = format!("tls {} {}", self.certificate, self.key);
                file.replace("\nexample.com {", &format!("\nexample.com:{port} {{\n\t{tls}\n"));
            }
        }
        file.text
    }

    fn command(&self, program: Program) -> Child {
        let folder = self.folder.display();
        let (main, arguments): (String, &[&str]) = match program {
            Program::Nginx => (
                format!(
                    "daemon off;\npid {folder}/pid;\nerror_log {folder}/errors;\nworker_processes 1;\nevents {{}}\n\
                     http {{\naccess_log off;\nclient_body_temp_path {folder}/body;\nproxy_temp_path {folder}/proxy;\n\
                     fastcgi_temp_path {folder}/fastcgi;\nuwsgi_temp_path {folder}/uwsgi;\nscgi_temp_path \
                     {folder}/scgi;\ninclude {folder}/site;\ninclude {folder}/delegation;\n}}\n"
                ),
                &["-c"],
            ),
            Program::Apache => {
                const MODULES: [&str; 11] = [
                    "alias",
                    "unique_id",
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
                         {folder}/site\nInclude {folder}/delegation\n",
                        self.client_port
                    ),
                    &["-DFOREGROUND", "-f"],
                )
            }
            Program::HaProxy => ("global\n    maxconn 1000\n".to_owned(), &["-db", "-f"]),
            Program::Caddy => (
                "{\n\tadmin off\n\tauto_https disable_redirects\n\tskip_install_trust\n}\nimport site\n\
                 import delegation\n"
                    .to_owned(),
                &["run", "--adapter", "caddyfile", "--config"],
            ),
        };
        fs::write(self.folder.join("main"), main).unwrap();
        let mut command = Command::new(program.path());
        command.args(arguments).arg(self.folder.join("main"));
        if program == Program::HaProxy {
            command.arg("-f").arg(self.folder.join("site")).arg("-f").arg(self.folder.join("delegation"));
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

/// Runs the commands by which the comments of Apache's file have the documents written.
fn write_documents(text: &str) {
    let commands = text.lines().filter_map(|line| line.strip_prefix("#   "));
    let commands: Vec<_> =
        commands.filter(|line| ["mkdir ", "echo "].iter().any(|name| line.starts_with(name))).collect();
    assert_eq!(commands.len(), 3, "{commands:?}");
    for command in commands {
        assert!(Command::new("sh").args(["-c", command]).status().unwrap().success(), "{command}");
    }
}
