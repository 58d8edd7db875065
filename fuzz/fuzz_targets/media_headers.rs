//! The headers of uploads and of other servers' media: what is served again is a legal header, names no folder and
//! never makes active content inline; `multipart/mixed` bodies read the same however they are cut into chunks.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plexus_media::multipart::{Multipart, Piece};
use plexus_media::serving::{content_disposition, content_type, file_name};

/// The parts' headers and contents; `None` when the body is malformed.
fn read<'a>(kind: &str, chunks: impl Iterator<Item = &'a [u8]>) -> Option<(Vec<(String, String)>, Vec<u8>)> {
    let mut body = Multipart::of(kind).ok()?;
    let (mut headers, mut content) = (Vec::new(), Vec::new());
    for chunk in chunks {
        body.push(chunk);
        while let Some(piece) = body.next_piece().ok()? {
            match piece {
                Piece::Part(more) => headers.extend(more),
                Piece::Content(more) => content.extend(more),
                Piece::End => return Some((headers, content)),
            }
        }
    }
    None
}

fuzz_target!(|data: (&str, &str, u8, &[u8])| {
    let (kind, disposition, size, body) = data;
    let served = content_type(kind);
    assert!(served.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
    let name = file_name(disposition);
    if let Some(name) = &name {
        assert!(!name.is_empty() && !name.contains(['/', '\\', '\0']));
    }
    let header = content_disposition(served, name.as_deref());
    assert!(header.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{header:?}");
    let lower = served.split(';').next().unwrap_or_default().to_ascii_lowercase();
    assert!(
        !(lower.contains("html") || lower.contains("svg")) || header.starts_with("attachment"),
        "{served} {header}"
    );
    for kind in [kind, "multipart/mixed; boundary=x"] {
        assert_eq!(read(kind, std::iter::once(body)), read(kind, body.chunks(usize::from(size).max(1))),);
    }
});
