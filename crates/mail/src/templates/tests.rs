use std::fs;

use super::*;

fn settings() -> TemplateSettings {
    TemplateSettings { public_base_url: "https://example.org/".to_owned(), ..TemplateSettings::default() }
}

#[test]
fn the_built_in_templates_can_be_read() {
    let templates = Templates::read(settings()).expect("they can be read");
    let link = "https://example.org/x?a=b&c=<d>";
    let variables = [("link", link), ("app_name", "App"), ("server_name", "example.org"), ("failure_reason", "late")];
    let names = templates.names().clone();
    for name in names.all() {
        let Ok(page) = templates.render_texts(name, &variables) else { panic!("{name}") };
        assert!(!page.contains("<d>") || name.ends_with(".txt"), "{name} escapes variables");
    }
    let text = templates.render_texts(&names.add_threepid_text, &variables).expect("a text");
    assert!(text.contains(link), "{text}");
}

#[test]
fn an_administrators_templates_replace_the_built_in_ones() {
    let (first, second) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    // As Synapse's own write it.
    let html =
        "{% include 'mail.css' without context %}{{ app_name.upper() }} {{ link }} {{ 0|format_ts('%Y')|length }}";
    fs::write(first.path().join("add_threepid.html"), html).expect("written");
    fs::write(second.path().join("add_threepid.html"), "not this").expect("written");
    fs::write(second.path().join("mail.css"), "CSS ").expect("written");
    let folders = vec![first.path().to_owned(), second.path().to_owned()];
    let templates = Templates::read(TemplateSettings { folders, ..settings() }).expect("they can be read");
    let page = templates.render_texts("add_threepid.html", &[("app_name", "app"), ("link", "<x>")]).expect("a page");
    assert_eq!(page, "CSS APP &lt;x&gt; 4");
}

#[test]
fn a_mistake_in_a_template_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("add_threepid.txt"), "one\n{% if %}").expect("written");
    let folders = vec![folder.path().to_owned()];
    let error = Templates::read(TemplateSettings { folders, ..settings() }).err().expect("a mistake").to_string();
    assert!(error.contains("add_threepid.txt") && error.contains("line 2"), "{error}");
    let names = TemplateNames { add_threepid_html: "missing.html".to_owned(), ..TemplateNames::default() };
    let error = Templates::read(TemplateSettings { names, ..settings() }).err().expect("it is missing");
    assert_eq!(error.name, "missing.html");
}
