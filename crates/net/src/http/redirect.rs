//! Where redirects lead.

use http::Uri;

/// Where `location` leads from `base` (RFC 3986, section 5.2, without dot segments).
pub(super) fn resolve(base: &Uri, location: &str) -> Option<Uri> {
    let (scheme, authority) = (base.scheme_str()?, base.authority()?);
    let location = location.split('#').next().unwrap_or_default();
    let absolute = if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else if location.starts_with('?') {
        format!("{scheme}://{authority}{}{location}", base.path())
    } else if has_scheme(location) {
        location.to_owned()
    } else {
        let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{location}")
    };
    absolute.parse().ok()
}

/// Whether a scheme is before everything else (RFC 3986, section 4.2).
fn has_scheme(location: &str) -> bool {
    location.find([':', '/', '?']).is_some_and(|end| location[end..].starts_with(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_resolved_against_the_page_they_came_with() {
        let base: Uri = "https://a.example/x/y?z".parse().unwrap();
        let to = |location| resolve(&base, location).map(|uri| uri.to_string());
        assert_eq!(to("https://b.example/w#part").as_deref(), Some("https://b.example/w"));
        assert_eq!(to("//b.example/w").as_deref(), Some("https://b.example/w"));
        assert_eq!(to("/w?q").as_deref(), Some("https://a.example/w?q"));
        assert_eq!(to("w").as_deref(), Some("https://a.example/x/w"));
        assert_eq!(to("?q").as_deref(), Some("https://a.example/x/y?q"));
        assert_eq!(to("w?next=https://b.example/").as_deref(), Some("https://a.example/x/w?next=https://b.example/"));
        assert_eq!(to("http://"), None);
    }
}
