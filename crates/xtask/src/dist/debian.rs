//! The Debian package. The format is that of deb(5) and of the Debian Policy Manual.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use md5::{Digest as _, Md5};

use super::archive::{ar, gz, tar_gz};
use super::contents::Contents;
use super::tree::{Entry, Tree};
use super::{Error, Release, hexadecimal, read, read_bytes};

/// The number of the package among those of one version of the program.
const REVISION: &str = "1";
/// Where the documents go.
const DOCUMENTS: &str = "usr/share/doc/plexus";
/// The scripts that dpkg and debconf run, in `contrib/debian`.
const SCRIPTS: [&str; 4] = ["config", "postinst", "prerm", "postrm"];

const CONTROL: &str = "\
Package: plexus
Version: {version}
Architecture: {architecture}
Maintainer: {maintainer}
Installed-Size: {size}
Depends: {depends}
Suggests: postgresql
Section: net
Priority: optional
Description: Matrix homeserver, a successor to Synapse
 Plexus is a homeserver for Matrix, the open network for chat and calls: one
 program that keeps the accounts, rooms, messages, keys and files of its users.
 It reads Synapse's homeserver.yaml, serves the same endpoints at the same
 paths, and runs as one process, without Redis or workers.
";

/// What the program and the scripts need, beside shared libraries.
const DEPENDS: [&str; 5] = [
    "ca-certificates",
    "debconf (>= 0.5) | debconf-2.0",
    "init-system-helpers (>= 1.54~)",
    "systemd | systemd-standalone-sysusers | systemd-sysusers",
    "systemd | systemd-standalone-tmpfiles | systemd-tmpfiles",
];

const CHANGELOG: &str = "\
plexus ({version}) unstable; urgency=medium

  * Version {upstream} of Plexus; changelog.gz says what changed.

 -- {maintainer}  {date}
";

const COPYRIGHT: &str = "\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: Plexus
Comment:
 The program contains other works under their own licences, which third-party.txt.gz in this folder lists.

Files: *
Copyright: 2026 The contributors to Plexus
License: Apache-2.0
 On Debian systems, the text of the Apache License, version 2.0, is in
 /usr/share/common-licenses/Apache-2.0.
";

/// Returns the name of the package's file.
pub(super) fn file_name(release: &Release) -> Result<String, Error> {
    Ok(format!("plexus_{}_{}.deb", package_version(release), architecture(release)?))
}

/// Returns the package.
pub(super) fn package(root: &Path, release: &Release, contents: &Contents) -> Result<Vec<u8>, Error> {
    let data = data(release, contents)?;
    let mut control = Tree::default();
    control.add("control", control_file(release, contents, &data)?.into_bytes());
    control.add("md5sums", checksums(&data).into_bytes());
    let folder = root.join("contrib/debian");
    control.add("templates", read_bytes(&folder.join("templates"))?);
    for script in SCRIPTS {
        control.add_program(script, read(&folder.join(script))?.into_bytes());
    }
    let members = [
        ("debian-binary", b"2.0\n".to_vec()),
        ("control.tar.gz", tar_gz(&control, release.time)?),
        ("data.tar.gz", tar_gz(&data, release.time)?),
    ];
    Ok(ar(&members.each_ref().map(|(name, bytes)| (*name, bytes.as_slice())), release.time))
}

/// Returns the files that the package installs.
fn data(release: &Release, contents: &Contents) -> Result<Tree, Error> {
    let mut tree = Tree::default();
    tree.add_program("usr/bin/plexus", contents.binary.clone());
    for (name, bytes) in &contents.manual_pages {
        tree.add(&format!("usr/share/man/man1/{name}.gz"), gz(bytes)?);
    }
    for (shell, bytes) in &contents.completions {
        let path = match shell.as_str() {
            "zsh" => "zsh/vendor-completions/_plexus",
            "fish" => "fish/vendor_completions.d/plexus.fish",
            _ => "bash-completion/completions/plexus",
        };
        tree.add(&format!("usr/share/{path}"), bytes.clone());
    }
    for (path, bytes) in &contents.documents {
        match path.as_str() {
            "CHANGELOG.md" => tree.add(&format!("{DOCUMENTS}/changelog.gz"), gz(bytes)?),
            // It is in /usr/share/common-licenses.
            "LICENSE" => {}
            _ => tree.add(&format!("{DOCUMENTS}/{path}"), bytes.clone()),
        }
    }
    for (path, bytes) in &contents.contributed {
        match path.as_str() {
            "contrib/homeserver.yaml" => tree.add("usr/share/plexus/homeserver.yaml", bytes.clone()),
            "contrib/systemd/plexus.service" => tree.add("lib/systemd/system/plexus.service", bytes.clone()),
            "contrib/systemd/plexus.socket" => tree.add("lib/systemd/system/plexus.socket", bytes.clone()),
            "contrib/systemd/plexus.sysusers.conf" => tree.add("usr/lib/sysusers.d/plexus.conf", bytes.clone()),
            "contrib/systemd/plexus.tmpfiles.conf" => tree.add("usr/lib/tmpfiles.d/plexus.conf", bytes.clone()),
            path if path.starts_with("contrib/debian/") => {}
            path => tree.add(&format!("{DOCUMENTS}/{path}"), bytes.clone()),
        }
    }
    tree.add(&format!("{DOCUMENTS}/copyright"), COPYRIGHT.into());
    tree.add(&format!("{DOCUMENTS}/third-party.txt.gz"), gz(contents.third_party.as_bytes())?);
    let changelog = fill(
        CHANGELOG,
        &[
            ("version", &package_version(release)),
            ("upstream", &release.version),
            ("maintainer", &maintainer()),
            ("date", &date(release.time)),
        ],
    );
    tree.add(&format!("{DOCUMENTS}/changelog.Debian.gz"), gz(changelog.as_bytes())?);
    Ok(tree)
}

fn control_file(release: &Release, contents: &Contents, data: &Tree) -> Result<String, Error> {
    let mut depends = libraries(&contents.binary);
    depends.extend(DEPENDS.map(ToOwned::to_owned));
    Ok(fill(
        CONTROL,
        &[
            ("version", &package_version(release)),
            ("architecture", architecture(release)?),
            ("maintainer", &maintainer()),
            ("size", &installed_kib(data).to_string()),
            ("depends", &depends.join(", ")),
        ],
    ))
}

fn package_version(release: &Release) -> String {
    format!("{}-{REVISION}", release.version)
}

fn architecture(release: &Release) -> Result<&'static str, Error> {
    match release.target.as_str() {
        "x86_64-unknown-linux-gnu" => Ok("amd64"),
        "aarch64-unknown-linux-gnu" => Ok("arm64"),
        other => Err(Error::Architecture(other.to_owned())),
    }
}

/// Returns who is responsible for the package, as Debian's own tools are given it.
fn maintainer() -> String {
    let of = |name: &str, otherwise: &str| std::env::var(name).unwrap_or_else(|_| otherwise.to_owned());
    format!("{} <{}>", of("DEBFULLNAME", "The Plexus developers"), of("DEBEMAIL", "plexus@packages.invalid"))
}

/// Returns the packages of the shared libraries that the program needs. That of libc6 has the newest version whose
/// symbols it uses.
fn libraries(binary: &[u8]) -> Vec<String> {
    let strings = || binary.split(|byte| *byte == 0);
    let versions = strings().filter_map(|string| {
        let version = std::str::from_utf8(string.strip_prefix(b"GLIBC_2.")?).ok()?;
        version.split('.').next()?.parse::<u32>().ok()
    });
    let libc = versions.max().map(|newest| format!("libc6 (>= 2.{newest})"));
    let libgcc = strings().any(|string| string == b"libgcc_s.so.1").then(|| "libgcc-s1 (>= 4.2)".to_owned());
    libc.into_iter().chain(libgcc).collect()
}

/// Returns the lines of `md5sums`.
fn checksums(data: &Tree) -> String {
    data.files().fold(String::new(), |mut text, (path, bytes)| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{}  {path}", hexadecimal(&Md5::digest(bytes)));
        text
    })
}

/// Returns the size as dpkg counts it: files in whole KiB, and one for everything else.
fn installed_kib(data: &Tree) -> usize {
    let kib = |entry: &Entry| match entry {
        Entry::Folder => 1,
        Entry::File { bytes, .. } => bytes.len().div_ceil(1024),
    };
    data.entries().map(|(_, entry)| kib(entry)).sum()
}

/// Returns a time in the form of RFC 5322.
fn date(time: u64) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(time)).replace("GMT", "+0000")
}

/// Returns the template with each `{name}` replaced by its value.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    values.iter().fold(template.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
}

#[cfg(test)]
mod tests {
    use super::{date, fill, libraries};

    #[test]
    fn libraries_follow_from_the_symbols() {
        let binary = b"\x7fELF\0libgcc_s.so.1\0GLIBC_2.2.5\0GLIBC_2.34\0GLIBC_2.9\0GLIBC_PRIVATE\0";
        assert_eq!(libraries(binary), ["libc6 (>= 2.34)", "libgcc-s1 (>= 4.2)"]);
        assert!(libraries(b"\x7fELF\0static").is_empty());
    }

    #[test]
    fn dates_and_templates_are_filled_in() {
        assert_eq!(date(784_111_777), "Sun, 06 Nov 1994 08:49:37 +0000");
        assert_eq!(fill("{a}-{b}-{a}", &[("a", "1"), ("b", "2")]), "1-2-1");
    }
}
