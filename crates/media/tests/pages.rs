//! What a hostile page costs: its size and its depth take no memory, and its time grows with its size alone. A test
//! binary of its own, because it counts every allocation of its process.

use std::alloc::System;
use std::io::{self, Read};
use std::time::{Duration, Instant};

use cap::Cap;
use plexus_media::previews::Page;

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

const PAGE_BYTES: usize = 4 << 20;
/// A few values of the largest size, and buffers.
const MAX_MEMORY: usize = 1 << 20;
/// Without optimization, on a busy machine.
const MAX_TIME: Duration = Duration::from_secs(60);

/// A page that begins with one text and repeats another.
struct Repeated<'t> {
    start: &'t [u8],
    text: &'t [u8],
    at: usize,
    left: usize,
}

impl Read for Repeated<'_> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        if !self.start.is_empty() {
            return self.start.read(output);
        }
        let mut rest = self.text.get(self.at..).unwrap_or_default();
        let room = output.len().min(self.left);
        let length = rest.read(output.get_mut(..room).unwrap_or_default())?;
        self.at = (self.at + length) % self.text.len();
        self.left -= length;
        Ok(length)
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the time that it takes is what is tested")]
fn hostile_pages_take_little_memory_and_time() {
    let long = "x".repeat(900);
    let metas = format!("<meta property='og:{long}' content='{long}'><meta name='twitter:{long}' content='{long}'>");
    for (start, text) in [
        ("", "<div>"),
        ("", "<div role=menu>"),
        ("", "<nav>"),
        ("", "<b><i></b>"),
        ("", "</div>"),
        ("<p ", "x"),
        ("<p title='", "&amp;"),
        ("<img src='", "data"),
        ("<p ", "a=1 "),
        ("<p ", "src='x' "),
        ("", "x"),
        ("", " "),
        ("", "&"),
        ("", "&notin;"),
        ("", "&#x"),
        ("", "<"),
        ("<!--", "-"),
        ("<!--", "<!--"),
        ("<!DOCTYPE ", "x"),
        ("<script>", "<!--<script>"),
        ("<title>", "</titl"),
        ("<title></", "x"),
        ("<script></", "x"),
        ("<script><!--<", "x"),
        ("<style></", "x"),
        ("<p title='", "x1"),
        ("", "x1"),
        ("<", "x"),
        ("<![CDATA[", "]]"),
        ("", "\0"),
        ("", "<h1>x</h1>"),
        ("", "<img src=x width=11 height=12>"),
        ("", "<p>a paragraph</p>"),
        ("", metas.as_str()),
    ] {
        MEMORY.set_limit(MEMORY.allocated() + MAX_MEMORY).expect("it is not reached yet");
        let began = Instant::now();
        let page = Repeated { start: start.as_bytes(), text: text.as_bytes(), at: 0, left: PAGE_BYTES };
        let tags = Page::read(page).expect("in memory").open_graph();
        let taken = began.elapsed();
        drop(tags);
        MEMORY.set_limit(usize::MAX).expect("no limit");
        assert!(taken < MAX_TIME, "{start}{}: {taken:?}", text.get(..20).unwrap_or(text));
    }
}
