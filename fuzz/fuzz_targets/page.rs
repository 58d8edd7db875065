//! Pages that are previewed: whatever they are, they are read, and what is known of them is of bounded size. What sites
//! say by oEmbed is read as well.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plexus_media::previews::{Oembed, Page};

/// More than all tags of a preview can have before those that are too long are left out.
const MAX_TAGS_BYTES: usize = 4 << 20;

fuzz_target!(|data: (&[u8], &str)| {
    let (html, json) = data;
    // Text in another character set is decoded before; this one may be damaged.
    let page = Page::read(html).expect("it is in memory");
    assert!(page.open_graph().to_json().len() < MAX_TAGS_BYTES);
    let oembed = Oembed::parse("https://a.example/", json);
    assert!(oembed.open_graph.get_str("og:url").is_none_or(|url| url == "https://a.example/"));
});
