//! Media uploaded to this server, for other servers.

pub(crate) mod get_content;
pub(crate) mod get_content_thumbnail;

use std::io::Cursor;

use axum::body::Body;
use axum::response::Response;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue};
use plexus_base::Random;
use plexus_media::{OpenMedia, serving};
use tokio::io::AsyncReadExt as _;
use tokio_util::io::ReaderStream;

/// Returns the content as `multipart/mixed`: first its description (empty so far), then the content itself
/// (server-server API, "Content Repository").
fn multipart(open: OpenMedia, random: &Random) -> Response {
    // 190 random bits, which the content does not contain by chance.
    let boundary = random.alphanumeric(32);
    let content_type = serving::content_type(&open.head.content_type);
    let disposition = serving::content_disposition(content_type, open.head.upload_name.as_deref());
    let before = format!(
        "--{boundary}\r\nContent-Type: application/json\r\n\r\n{{}}\r\n--{boundary}\r\n\
         Content-Type: {content_type}\r\nContent-Disposition: {disposition}\r\n\r\n"
    );
    let after = format!("\r\n--{boundary}--\r\n");
    let length = before.len() as u64 + open.head.length + after.len() as u64;
    let whole = Cursor::new(before).chain(open.file).chain(Cursor::new(after));
    let mut response = Response::new(Body::from_stream(ReaderStream::with_capacity(whole, 64 * 1024)));
    let mut set = |name: HeaderName, value: &str| {
        // It consists of printable ASCII characters.
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    };
    set(CONTENT_TYPE, &format!("multipart/mixed; boundary={boundary}"));
    set(CONTENT_LENGTH, &length.to_string());
    response
}
