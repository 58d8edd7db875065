//! Downloads pages and images, each URL of a redirect under the same rules.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use http::header::{
    ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName,
    LOCATION, USER_AGENT,
};
use http::{HeaderMap, HeaderValue, Request};
use plexus_net::http::{HttpResponse, StreamedBody};
use plexus_net::{Gates, HttpClient, Limits, Purpose};
use plexus_protocol::id::UserId;
use url::Url;

use super::budget::PreviewBudget;
use super::error::PreviewError;
use super::url_rules::UrlRules;
use crate::serving;
use crate::store::MediaStore;
use crate::upload::Upload;

/// What sites are to know who previews them: some describe their pages only to programs. Which version it is does not
/// concern them.
const PREVIEW_USER_AGENT: HeaderValue =
    HeaderValue::from_static("Plexus (bot; +https://matrix.org/ecosystem/servers/)");
/// The most redirects that are followed.
const MAX_REDIRECTS: usize = 10;
/// How long to wait for the head of a response.
const HEAD_TIMEOUT: Duration = Duration::from_secs(20);
/// How long the body of a response may take, as in Synapse.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// The most downloads in progress from one host.
const MAX_DOWNLOADS_PER_HOST: usize = 4;
/// The most compressed bytes that are decompressed at once. Each becomes about a thousand bytes at most.
const MAX_COMPRESSED_BYTES: usize = 256;

/// Downloads what may be previewed.
pub(super) struct PageDownloader {
    http: Arc<HttpClient>,
    media: Arc<MediaStore>,
    rules: UrlRules,
    accept_language: Option<HeaderValue>,
    max_bytes: u64,
    hosts: Gates,
    budget: PreviewBudget,
}

/// What was downloaded.
pub(super) struct Download {
    /// The content, on the disk.
    pub(super) upload: Upload,
    /// Where it was, after all redirects.
    pub(super) url: Url,
    pub(super) content_type: String,
    pub(super) file_name: Option<String>,
}

impl Download {
    /// Whether its Content-Type begins with one of these.
    pub(super) fn is_any_of(&self, types: &[&str]) -> bool {
        is_any_of(&self.content_type, types)
    }

    /// Returns the start of a text in UTF-8, of at most `max_bytes`; `None` if it has another encoding.
    pub(super) async fn text(&mut self, max_bytes: u64) -> Result<Option<String>, PreviewError> {
        let file = self.upload.reopen().await?;
        let read = tokio::task::spawn_blocking(move || {
            let mut text = String::new();
            file.take(max_bytes).read_to_string(&mut text).ok().map(|_| text)
        });
        read.await.map_err(|_| PreviewError::Abandoned)
    }
}

/// Whether a Content-Type begins with one of `types`.
pub(super) fn is_any_of(content_type: &str, types: &[&str]) -> bool {
    let begins =
        |prefix: &&str| content_type.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    types.iter().any(begins)
}

impl PageDownloader {
    pub(super) fn new(
        http: Arc<HttpClient>,
        media: Arc<MediaStore>,
        rules: UrlRules,
        languages: &[String],
        max_bytes: u64,
    ) -> Self {
        let accept_language = HeaderValue::from_str(&languages.join(", ")).ok().filter(|value| !value.is_empty());
        let (hosts, budget) = (Gates::new(MAX_DOWNLOADS_PER_HOST), PreviewBudget::new(media.clock().clone()));
        Self { http, media, rules, accept_language, max_bytes, hosts, budget }
    }

    /// Returns what each user's previews may fetch.
    pub(super) fn budget(&self) -> &PreviewBudget {
        &self.budget
    }

    /// Whether `url_preview_url_blacklist` forbids a URL, which a user wrote as `written`.
    pub(super) fn forbids(&self, written: &str, url: &Url) -> bool {
        self.rules.refuse(written, url)
    }

    /// Downloads `url`, which somebody wrote as `written`, or what it redirects to, for a preview that `user` asks for.
    pub(super) async fn download(&self, user: &UserId, written: &str, url: Url) -> Result<Download, PreviewError> {
        let (mut written, mut url) = (written.to_owned(), url);
        for _ in 0..=MAX_REDIRECTS {
            if self.forbids(&written, &url) {
                return Err(PreviewError::UrlForbidden);
            }
            let _turn = self.hosts.enter(url.host_str().unwrap_or_default()).await;
            self.budget.count_request(user);
            let response = self.request(&mut url).await?;
            if matches!(response.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
                // Many sites have letters of all languages in it, in UTF-8.
                let location = response.headers.get(LOCATION).map(|value| String::from_utf8_lossy(value.as_bytes()));
                let location = location.filter(|location| !location.is_empty());
                let to = location.as_ref().and_then(|location| url.join(location).ok());
                url = to.ok_or_else(|| PreviewError::failed("a redirect to nowhere"))?;
                written = location.unwrap_or_default().into_owned();
            } else {
                return self.read(user, url, response).await;
            }
        }
        Err(PreviewError::Failed("too many redirects".to_owned()))
    }

    async fn request(&self, url: &mut Url) -> Result<HttpResponse, PreviewError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(PreviewError::of_scheme(url.scheme()));
        }
        url.set_fragment(None);
        // Whoever wrote the link may sign in; this server does not.
        let _ = url.set_username("").and_then(|()| url.set_password(None));
        let mut request = Request::get(url.as_str()).body(Bytes::new()).map_err(|_| PreviewError::NotAUrl)?;
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, PREVIEW_USER_AGENT);
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        if let Some(languages) = &self.accept_language {
            headers.insert(ACCEPT_LANGUAGE, languages.clone());
        }
        let max_response_bytes = usize::try_from(self.max_bytes).unwrap_or(usize::MAX);
        let purpose = Purpose::UrlPreview(Limits { timeout: HEAD_TIMEOUT, max_response_bytes });
        let response = self.http.send(purpose, request).await;
        response.map_err(|error| PreviewError::of_request(url, &error))
    }

    async fn read(&self, user: &UserId, url: Url, response: HttpResponse) -> Result<Download, PreviewError> {
        let HttpResponse { status, headers, body } = response;
        if status.as_u16() > 299 {
            return Err(PreviewError::Status(status.as_u16()));
        }
        let content_type = header(&headers, CONTENT_TYPE);
        let is_video = content_type.is_some_and(|said| is_any_of(said, &["video/"]));
        if let Some(other) = content_type.filter(|said| !is_video && !is_any_of(said, &PREVIEWABLE)) {
            return Err(PreviewError::of_content_type(other));
        }
        let length = header(&headers, CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
        if !is_video && length.is_some_and(|length| length > self.max_bytes) {
            return Err(PreviewError::TooLarge(self.max_bytes));
        }
        let mut upload = self.media.begin_page(self.max_bytes).await?;
        // Of a video, nothing but its type is known.
        if !is_video {
            let encoding = header(&headers, CONTENT_ENCODING).unwrap_or_default().to_ascii_lowercase();
            let count = |bytes: usize| self.budget.count_bytes(user, bytes as u64);
            let copying = copy(&url, body, &encoding, &mut upload, count);
            tokio::select! {
                copied = copying => copied?,
                () = self.media.clock().sleep(BODY_TIMEOUT) => return Err(PreviewError::TooSlow),
            }
        }
        Ok(Download {
            upload,
            content_type: content_type.unwrap_or("application/octet-stream").to_owned(),
            file_name: header(&headers, CONTENT_DISPOSITION).and_then(serving::file_name),
            url,
        })
    }
}

/// What is previewed, besides videos.
const PREVIEWABLE: [&str; 4] = ["text/html", "application/xhtml", "image/", "application/json"];

fn header(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Writes a body to the disk, decompressed. `count` gets the number of bytes of each piece of it.
async fn copy(
    url: &Url,
    mut body: StreamedBody,
    encoding: &str,
    upload: &mut Upload,
    count: impl Fn(usize),
) -> Result<(), PreviewError> {
    let is_compressed = match encoding.trim() {
        "" | "identity" => false,
        "gzip" | "x-gzip" => true,
        other => return Err(PreviewError::failed(&format!("the response is compressed by {other}"))),
    };
    let broken = |error| PreviewError::Failed(format!("the response is not compressed correctly: {error}"));
    let mut decoder = MultiGzDecoder::new(Vec::new());
    while let Some(chunk) = body.chunk().await.map_err(|error| PreviewError::of_request(url, &error))? {
        if !is_compressed {
            count(chunk.len());
            upload.write(&chunk).await?;
            continue;
        }
        for piece in chunk.chunks(MAX_COMPRESSED_BYTES) {
            decoder.write_all(piece).map_err(broken)?;
            let decompressed = std::mem::take(decoder.get_mut());
            count(decompressed.len());
            upload.write(&decompressed).await?;
        }
    }
    if is_compressed {
        upload.write(&decoder.finish().map_err(broken)?).await?;
    }
    Ok(())
}
