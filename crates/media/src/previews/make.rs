//! Makes a preview: downloads a page, what describes it and its image.

use std::sync::Arc;
use std::time::Duration;

use plexus_protocol::id::{ServerName, UserId};
use plexus_protocol::json::Object;
use plexus_store::Tx;
use url::Url;

use super::PreviewTasks;
use super::charset::{self, Decoded};
use super::data_url::DataUrl;
use super::download::{Download, PageDownloader, is_any_of};
use super::error::PreviewError;
use super::oembed::{Oembed, OembedProviders};
use super::page::{Page, remove_long};
use crate::store::MediaStore;
use crate::upload::{Description, Upload};

/// How long a preview is valid if nothing says otherwise, as in Synapse.
const DEFAULT_VALIDITY: Duration = Duration::from_secs(3_600);
/// How long a preview is valid at most, as in Synapse.
const MAX_VALIDITY: Duration = Duration::from_secs(24 * 3_600);
/// The largest description by oEmbed that is read.
const MAX_OEMBED_BYTES: u64 = 1 << 20;

/// The longest Content-Type of an image: it is a header of responses of this server, too.
const MAX_TYPE_BYTES: usize = 255;
/// The longest file name of an image, for the same reason.
const MAX_FILE_NAME_CHARS: usize = 255;
/// How long the description by oEmbed, and then the image, of a page may take. The page is previewed without it then.
const MAX_EXTRA_TIME: Duration = Duration::from_secs(25);

const HTML: [&str; 2] = ["text/html", "application/xhtml"];

/// Makes previews.
pub(super) struct PreviewMaker {
    pub(super) server_name: ServerName,
    pub(super) downloader: PageDownloader,
    pub(super) media: Arc<MediaStore>,
    pub(super) providers: OembedProviders,
    pub(super) tasks: Arc<dyn PreviewTasks>,
}

/// A preview that was made.
pub(super) struct Made {
    pub(super) tags: Object,
    pub(super) validity: Duration,
}

/// Who asks for a preview, and of what.
#[derive(Debug, Clone, Copy)]
struct Asked<'a> {
    user: &'a UserId,
    url: &'a str,
}

impl PreviewMaker {
    /// Makes the preview of `url` that `user` asks for.
    pub(super) async fn make(&self, user: &UserId, url: &str) -> Result<Made, PreviewError> {
        let asked = Asked { user, url };
        let parsed = Url::parse(url).map_err(|_| PreviewError::NotAUrl)?;
        if self.downloader.forbids(url, &parsed) {
            return Err(PreviewError::UrlForbidden);
        }
        let described = self.providers.find(url).filter(|there| !self.downloader.forbids(there.as_str(), there));
        let is_described = described.is_some();
        let download = match described {
            Some(there) => self.downloader.download(user, there.as_str(), there.clone()).await?,
            None => self.downloader.download(user, url, parsed).await?,
        };
        let mut made = if download.is_any_of(&["image/"]) {
            self.of_image(asked, download).await?
        } else if download.is_any_of(&["video/"]) {
            of_video(&download)
        } else if download.is_any_of(&HTML) {
            self.of_page(asked, download).await?
        } else if is_described && download.is_any_of(&["application/json"]) {
            self.of_oembed(asked, download).await?
        } else {
            Made { tags: Object::new(), validity: DEFAULT_VALIDITY }
        };
        remove_long(&mut made.tags);
        made.validity = made.validity.min(MAX_VALIDITY);
        Ok(made)
    }

    async fn of_image(&self, asked: Asked<'_>, download: Download) -> Result<Made, PreviewError> {
        let mut tags = Object::new();
        if let Some(name) = download.file_name.as_deref() {
            tags.insert("og:description", name);
        }
        let about = Description { content_type: Some(download.content_type), upload_name: download.file_name };
        self.store_image(asked, download.upload, about, &mut tags).await?;
        Ok(Made { tags, validity: DEFAULT_VALIDITY })
    }

    async fn of_page(&self, asked: Asked<'_>, mut download: Download) -> Result<Made, PreviewError> {
        let page = read_page(&mut download).await?;
        let mut tags = page.open_graph();
        let oembed = match page.oembed() {
            Some(link) => self.oembed_at(asked, &download.url, link).await,
            None => Oembed::default(),
        };
        // What the page says itself comes first, as in Synapse: some sites describe their pages only there.
        for (name, value) in oembed.open_graph.iter() {
            if !tags.contains_key(name) {
                tags.insert(name, value.clone());
            }
        }
        self.add_image(asked, &download.url, &mut tags).await;
        name_author(&mut tags, oembed.author_name);
        Ok(Made { tags, validity: oembed.cache_age.unwrap_or(DEFAULT_VALIDITY) })
    }

    async fn of_oembed(&self, asked: Asked<'_>, mut download: Download) -> Result<Made, PreviewError> {
        let text = download.text(MAX_OEMBED_BYTES).await?.unwrap_or_default();
        let Oembed { open_graph: mut tags, author_name, cache_age } = parse_oembed(asked.url, text).await;
        self.add_image(asked, &download.url, &mut tags).await;
        name_author(&mut tags, author_name);
        Ok(Made { tags, validity: cache_age.unwrap_or(DEFAULT_VALIDITY) })
    }

    /// Returns what oEmbed says of a page which links to it; nothing if that cannot be had.
    async fn oembed_at(&self, asked: Asked<'_>, page: &Url, link: &str) -> Oembed {
        let Ok(url) = page.join(link) else { return Oembed::default() };
        let text = async {
            let mut download = self.downloader.download(asked.user, link, url).await?;
            let is_json = download.is_any_of(&["application/json"]);
            if is_json { download.text(MAX_OEMBED_BYTES).await } else { Ok(None) }
        };
        match self.in_time(text).await {
            Ok(Some(text)) => parse_oembed(asked.url, text).await,
            Ok(None) => Oembed::default(),
            Err(error) => {
                tracing::debug!(link, "a page's description by oEmbed is left out of its preview: {error}");
                Oembed::default()
            }
        }
    }

    /// Replaces the image's address, as the page at `base` has it, by that of a copy; removes it if there is none.
    async fn add_image(&self, asked: Asked<'_>, base: &Url, tags: &mut Object) {
        let address = tags.remove("og:image");
        let Some(address) = address.as_ref().and_then(|address| address.as_str()).filter(|text| !text.is_empty())
        else {
            return;
        };
        if let Err(error) = self.in_time(self.copy_image(asked, base, address, tags)).await {
            let start: String = address.chars().take(200).collect();
            tracing::debug!(image = start, "an image is left out of a preview: {error}");
        }
    }

    async fn in_time<T>(&self, extra: impl Future<Output = Result<T, PreviewError>>) -> Result<T, PreviewError> {
        tokio::select! {
            done = extra => done,
            () = self.media.clock().sleep(MAX_EXTRA_TIME) => Err(PreviewError::TooSlow),
        }
    }

    async fn copy_image(
        &self,
        asked: Asked<'_>,
        base: &Url,
        address: &str,
        tags: &mut Object,
    ) -> Result<(), PreviewError> {
        let (upload, about) = match DataUrl::parse(address) {
            Some(DataUrl { content_type, content }) => {
                let mut upload = self.media.begin_page(content.len() as u64).await?;
                self.downloader.budget().count_bytes(asked.user, content.len() as u64);
                upload.write(&content).await?;
                (upload, Description { content_type: Some(content_type), upload_name: None })
            }
            None => {
                let url = base.join(address).map_err(|_| PreviewError::NotAUrl)?;
                let download = self.downloader.download(asked.user, address, url).await?;
                let about = Description { content_type: Some(download.content_type), upload_name: download.file_name };
                (download.upload, about)
            }
        };
        self.store_image(asked, upload, about, tags).await
    }

    /// Stores an image, and describes it.
    async fn store_image(
        &self,
        asked: Asked<'_>,
        mut upload: Upload,
        mut about: Description,
        tags: &mut Object,
    ) -> Result<(), PreviewError> {
        let content_type = about.content_type.clone().unwrap_or_default();
        if !is_any_of(&content_type, &["image/"]) || content_type.len() > MAX_TYPE_BYTES {
            return Err(PreviewError::of_content_type(&content_type));
        }
        about.upload_name = about.upload_name.map(|name| name.chars().take(MAX_FILE_NAME_CHARS).collect());
        let dimensions = self.media.dimensions(upload.reopen().await?).await;
        let length = upload.length();
        let media_id = {
            let tasks = Arc::clone(&self.tasks);
            let also = move |tx: &mut Tx<'_>| tasks.schedule_cleanup(tx);
            self.media.store_of_preview(asked.user, asked.url, upload, about, also).await?
        };
        tags.insert("og:image", format!("mxc://{}/{media_id}", self.server_name));
        tags.insert("og:image:type", content_type);
        tags.insert("matrix:image:size", length);
        if let Some((width, height)) = dimensions {
            tags.insert("og:image:width", u64::from(width));
            tags.insert("og:image:height", u64::from(height));
        }
        Ok(())
    }
}

fn of_video(download: &Download) -> Made {
    let mut tags = Object::new();
    tags.insert("og:type", "video.other");
    tags.insert("og:video", download.url.as_str());
    tags.insert("og:video:type", download.content_type.as_str());
    let in_path = download.url.path_segments().and_then(|mut segments| segments.next_back());
    if let Some(name) = download.file_name.as_deref().or(in_path).filter(|name| !name.is_empty()) {
        tags.insert("og:title", name);
    }
    Made { tags, validity: DEFAULT_VALIDITY }
}

/// The author of a page without a title stands for it.
fn name_author(tags: &mut Object, author_name: Option<String>) {
    let has_title = tags.get_str("og:title").is_some_and(|title| !title.is_empty());
    if let Some(name) = author_name.filter(|_| !has_title) {
        tags.insert("og:title", name);
    }
}

/// Reads a description by oEmbed; nothing if that fails.
async fn parse_oembed(url: &str, text: String) -> Oembed {
    let url = url.to_owned();
    tokio::task::spawn_blocking(move || Oembed::parse(&url, &text)).await.unwrap_or_default()
}

async fn read_page(download: &mut Download) -> Result<Page, PreviewError> {
    let (mut file, content_type) = (download.upload.reopen().await?, download.content_type.clone());
    let read = tokio::task::spawn_blocking(move || {
        let encoding = charset::detect(&mut file, &content_type)?;
        Page::read(Decoded::new(file, encoding))
    });
    let page = read.await.map_err(|panic| PreviewError::Failed(panic.to_string()))?;
    page.map_err(|error| PreviewError::Failed(error.to_string()))
}
