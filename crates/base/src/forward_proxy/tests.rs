use super::*;

fn url(text: &str) -> ProxyUrl {
    ProxyUrl::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn proxies_are_written_as_in_synapse() {
    for (text, shown) in [
        ("proxy.example", "http://proxy.example:1080"),
        ("Proxy.Example:8080", "http://proxy.example:8080"),
        ("http://10.0.1.1:8080/", "http://10.0.1.1:8080"),
        ("HTTPS://proxy.example", "https://proxy.example:1080"),
        ("https://proxy.example:/path?query#part", "https://proxy.example:1080"),
        ("[2001:db8::1]:3128", "http://[2001:db8::1]:3128"),
        ("http://[::1]", "http://[::1]:1080"),
        (" user:secret@proxy:1 ", "http://proxy:1"),
    ] {
        assert_eq!(url(text).to_string(), shown, "{text}");
    }
}

#[test]
fn credentials_are_decoded_and_never_shown() {
    for (text, user, password) in [
        ("http://USERNAME:PASSWORD@10.0.1.1:8080/", "USERNAME", "PASSWORD"),
        ("u%40x:p%3Aa%2Fs%25s@proxy", "u@x", "p:a/s%s"),
        ("user:pass:word@proxy", "user", "pass:word"),
        ("user:p@ss@proxy", "user", "p@ss"),
        ("user@proxy", "user", ""),
        ("user:100%@proxy", "user", "100%"),
    ] {
        let url = url(text);
        let Credentials { user: found, password: found_password } = url.credentials().unwrap();
        assert_eq!((found.as_slice(), found_password.as_slice()), (user.as_bytes(), password.as_bytes()), "{text}");
        let shown = format!("{url} {url:?}");
        assert!(!shown.contains(user) && (password.is_empty() || !shown.contains(password)), "{shown}");
    }
    assert!(url("@proxy").credentials().is_none());
    assert!(url(":@proxy").credentials().is_none());
}

#[test]
fn what_is_no_http_proxy_is_refused_without_its_password() {
    for (text, problem) in [
        ("socks5://user:secret@proxy:1080", "not socks5://"),
        ("SOCKS5H://proxy", "not socks5h://"),
        ("ftp://secret@proxy", "not ftp://"),
        ("secret secret://proxy", "names no host"),
        ("", "names no host"),
        ("http://", "names no host"),
        ("http://user:secret@", "names no host"),
        ("http://user:secret@:80", "names no host"),
        ("http://[::g]:80", "names no host"),
        ("http://[::1]x80", "names no host"),
        ("http://pro xy", "names no host"),
        ("http://prö.xy", "names no host"),
        ("http://user:sec/ret@proxy:80", "must be a number"),
        ("http://user:secret@proxy:0", "must be a number"),
        ("http://user:secret@proxy:65536", "must be a number"),
        ("http://user:secret@proxy:+80", "must be a number"),
        ("http://us%3Aer:secret@proxy", "holds a colon"),
    ] {
        let error = ProxyUrl::parse(text).expect_err(text).to_string();
        assert!(error.contains(problem), "{text}: {error}");
        assert!(!error.contains("sec"), "{text}: {error}");
    }
}

fn list(text: &str) -> NoProxy {
    NoProxy::from(ProxyException::parse_list(text).unwrap_or_else(|error| panic!("{text}: {error}")))
}

#[test]
fn exceptions_are_hosts_with_subdomains_addresses_and_ranges() {
    let all = "master.example.com, 10.1.0.0/16,172.30.0.0/16 ,.dot.example,*.star.example,port.example:8448,\
               192.0.2.1:8448,[2001:db8::1]:8448,2001:db8:1::/48,UPPER.example,trailing.example.,,";
    let all = list(all);
    for (host, port, matches) in [
        ("master.example.com", 443, true),
        ("MASTER.example.com.", 443, true),
        ("sub.master.example.com", 443, true),
        ("xmaster.example.com", 443, false),
        ("example.com", 443, false),
        ("10.1.2.3", 443, true),
        ("::ffff:10.1.2.3", 443, true),
        ("10.2.0.0", 443, false),
        ("172.30.255.255", 1, true),
        ("dot.example", 443, true),
        ("a.dot.example", 443, true),
        ("star.example", 443, true),
        ("a.star.example", 443, true),
        ("port.example", 8448, true),
        ("a.port.example", 8448, true),
        ("port.example", 443, false),
        ("192.0.2.1", 8448, true),
        ("192.0.2.1", 443, false),
        ("2001:db8::1", 8448, true),
        ("2001:db8::1", 443, false),
        ("2001:db8:1::5", 443, true),
        ("upper.example", 443, true),
        ("trailing.example", 443, true),
        ("", 443, false),
    ] {
        assert_eq!(all.matches(host, port), matches, "{host}:{port}");
    }
    let everything = list("x.example, *");
    assert!(everything.matches("a.example", 1) && everything.matches("::1", 1));
    assert!(!NoProxy::default().matches("a.example", 1));
    for wrong in ["10.0.0.0/33", "exa mple", "a.example:x", "a.example:0", "a.example/8", ".", "https://a.example"] {
        let error = ProxyException::parse_list(&format!("a.example,{wrong}")).expect_err(wrong).to_string();
        assert!(error.contains(wrong), "{error}");
    }
}

fn variables(variables: &[(&str, &str)]) -> ProxyVariables {
    ProxyVariables::of(variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))))
}

#[test]
fn the_environment_counts_in_any_case() {
    let found = variables(&[
        ("HTTP_PROXY", "upper"),
        ("http_proxy", "lower"),
        ("Https_Proxy", "mixed"),
        ("NO_PROXY", "a.example,b.example"),
        ("ALL_PROXY", "socks5://nobody"),
    ]);
    let through = |text| Some(ProxyOption::Through(url(text)));
    assert_eq!(found.proxy("http_proxy").unwrap(), through("lower"));
    assert_eq!(found.proxy("https_proxy").unwrap(), through("mixed"));
    assert_eq!(NoProxy::from(found.no_proxy().unwrap().unwrap()), list("a.example,b.example"));
    let empty = variables(&[("http_proxy", ""), ("HTTP_PROXY", "upper")]);
    assert_eq!(empty.proxy("http_proxy").unwrap(), None);
    assert_eq!(empty.no_proxy().unwrap(), None);
}

#[test]
fn a_wrong_variable_is_named_without_its_value() {
    let wrong = variables(&[("HTTPS_PROXY", "socks5://u:secret@h"), ("No_Proxy", "10.0.0.0/99")]);
    let error = wrong.proxy("https_proxy").unwrap_err().to_string();
    assert!(error.starts_with("the environment variable HTTPS_PROXY: only proxies with"), "{error}");
    assert!(!error.contains("secret"), "{error}");
    let error = wrong.no_proxy().unwrap_err().to_string();
    assert_eq!(
        error,
        "the environment variable No_Proxy: \"10.0.0.0/99\" is neither a host, nor an address, nor a range such as \
         10.0.0.0/8"
    );
}
