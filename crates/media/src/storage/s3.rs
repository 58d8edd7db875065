//! A bucket of an S3 server as a storage (Amazon S3 API reference, "PutObject", "Multipart upload", "ListObjectsV2").
//! Objects have the names that Synapse's s3_storage_provider gives them.

mod sign;
mod xml;

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use plexus_base::Clock;
use plexus_base::config::S3Location;
use plexus_net::http::WholeResponse;
use plexus_net::{HttpClient, Limits, Purpose, percent_encode};
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;
use tokio::sync::OnceCell;

use crate::error::StorageError;
use crate::paths;
use crate::upload::Upload;
use sign::{Credentials, Signer};

/// How much of a file is sent in one request, in bytes: larger files are sent in parts, of which S3 allows 10,000.
const PART_BYTES: usize = 8 * 1024 * 1024;
/// How much of a file is requested at once, in bytes.
const FETCH_BYTES: u64 = 4 * 1024 * 1024;
/// How much more a response may have, in bytes.
const MAX_RESPONSE_BYTES: usize = 5 * 1024 * 1024;
/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The most lists of 1,000 names at a time: of thumbnails that are deleted with one file, or of unfinished uploads. The
/// next attempt deletes more.
const MAX_LISTS: usize = 8;

/// Returns the URL of a bucket. Amazon's buckets are host names, unless their names have dots, for which its
/// certificates do not hold.
fn url(location: &S3Location) -> String {
    let (bucket, region) = (&location.bucket, &location.region_name);
    match &location.endpoint_url {
        Some(endpoint) => format!("{}/{bucket}", endpoint.trim_end_matches('/')),
        None if bucket.contains('.') => format!("https://s3.{region}.amazonaws.com/{bucket}"),
        None => format!("https://{bucket}.s3.{region}.amazonaws.com"),
    }
}

/// A bucket.
pub(super) struct S3 {
    location: S3Location,
    url: String,
    http: Arc<HttpClient>,
    clock: Clock,
    /// Set when the parts that an earlier process left are deleted.
    is_without_earlier: OnceCell<()>,
}

/// A request to be signed.
struct Call<'a> {
    method: Method,
    /// The object's name; empty for the bucket.
    key: &'a str,
    /// In the order of the names.
    query: &'a [(&'a str, &'a str)],
    headers: &'a [(&'static str, String)],
    body: Bytes,
}

impl S3 {
    pub(super) fn new(location: S3Location, http: Arc<HttpClient>, clock: Clock) -> Self {
        let url = url(&location);
        Self { location, url, http, clock, is_without_earlier: OnceCell::new() }
    }

    /// Stores the file at `source` as the object `key`.
    pub(super) async fn store(&self, key: &str, source: &Path) -> Result<(), StorageError> {
        let io = |error| StorageError::Io { path: source.to_owned(), error };
        let mut file = File::open(source).await.map_err(io)?;
        let first = read_part(&mut file).await.map_err(io)?;
        if first.len() < PART_BYTES {
            let headers = [("x-amz-storage-class", self.location.storage_class.clone())];
            let put = Call { method: Method::PUT, key, query: &[], headers: &headers, body: first };
            return self.send(put).await.map(drop);
        }
        self.abort_earlier().await?;
        let upload_id = self.begin_parts(key).await?;
        let parts = async {
            let mut tags = Vec::new();
            let mut part = first;
            while !part.is_empty() {
                tags.push(self.store_part(key, &upload_id, tags.len() + 1, part).await?);
                part = read_part(&mut file).await.map_err(io)?;
            }
            self.complete_parts(key, &upload_id, &tags).await
        };
        let stored = parts.await;
        if stored.is_err() {
            self.abort_parts(key, &upload_id).await;
        }
        stored
    }

    /// Deletes the parts of files that an earlier process was sending when it ended: they cost money. Without effect if
    /// that has been done: these are this process's own.
    pub(super) async fn abort_earlier(&self) -> Result<(), StorageError> {
        let abort = async {
            for folder in paths::CONTENT_FOLDERS {
                self.abort_below(&format!("{}{folder}/", self.location.prefix)).await?;
            }
            Ok::<_, StorageError>(())
        };
        self.is_without_earlier.get_or_try_init(|| abort).await?;
        Ok(())
    }

    /// Deletes the parts of all objects whose names begin with `prefix`.
    async fn abort_below(&self, prefix: &str) -> Result<(), StorageError> {
        for _ in 0..MAX_LISTS {
            let query = [("prefix", prefix), ("uploads", "")];
            let list = Call { method: Method::GET, key: "", query: &query, headers: &[], body: Bytes::new() };
            let body = match self.send(list).await {
                Ok(response) => response.body,
                // The access key need not have the permission to list them.
                Err(StorageError::Refused { status, code }) if status.is_client_error() => {
                    tracing::debug!("unfinished uploads below {prefix} are not listed: {status} {code}");
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
            let uploads = xml::elements(&body, "Key").into_iter().zip(xml::elements(&body, "UploadId"));
            let uploads: Vec<_> = uploads.filter(|(name, _)| name.starts_with(prefix)).collect();
            if uploads.is_empty() {
                return Ok(());
            }
            for (name, upload_id) in uploads {
                let key = name.strip_prefix(&self.location.prefix).unwrap_or(&name);
                self.abort_parts(key, &upload_id).await;
            }
        }
        Ok(())
    }

    async fn abort_parts(&self, key: &str, upload_id: &str) {
        let query = [("uploadId", upload_id)];
        let abort = Call { method: Method::DELETE, key, query: &query, headers: &[], body: Bytes::new() };
        if let Err(error) = self.send(abort).await {
            tracing::debug!("the parts of {key} could not be deleted: {error}");
        }
    }

    async fn begin_parts(&self, key: &str) -> Result<String, StorageError> {
        let headers = [("x-amz-storage-class", self.location.storage_class.clone())];
        let query = [("uploads", "")];
        let begin = Call { method: Method::POST, key, query: &query, headers: &headers, body: Bytes::new() };
        let response = self.send(begin).await?;
        xml::elements(&response.body, "UploadId").pop().ok_or(StorageError::Response("UploadId"))
    }

    /// Stores a part; returns its ETag.
    async fn store_part(&self, key: &str, upload_id: &str, number: usize, body: Bytes) -> Result<String, StorageError> {
        let number = number.to_string();
        let query = [("partNumber", number.as_str()), ("uploadId", upload_id)];
        let response = self.send(Call { method: Method::PUT, key, query: &query, headers: &[], body }).await?;
        let tag = response.headers.get("etag").and_then(|tag| tag.to_str().ok());
        tag.map(str::to_owned).ok_or(StorageError::Response("ETag"))
    }

    async fn complete_parts(&self, key: &str, upload_id: &str, tags: &[String]) -> Result<(), StorageError> {
        let parts = tags.iter().zip(1..).map(|(tag, number)| {
            let tag = xml::escape(tag);
            format!("<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>")
        });
        let body = format!("<CompleteMultipartUpload>{}</CompleteMultipartUpload>", parts.collect::<String>());
        let query = [("uploadId", upload_id)];
        let complete = Call { method: Method::POST, key, query: &query, headers: &[], body: body.into() };
        let response = self.send(complete).await?;
        // The status is sent before the parts are put together.
        match xml::elements(&response.body, "Code").pop() {
            Some(code) => Err(StorageError::Refused { status: response.status, code }),
            None => Ok(()),
        }
    }

    /// Appends the object `key`, which has `length` bytes, to `upload`. Returns false if there is no such object.
    pub(super) async fn fetch(&self, key: &str, length: u64, upload: &mut Upload) -> Result<bool, StorageError> {
        if length > FETCH_BYTES {
            return self.fetch_part(key, 0..length, upload).await;
        }
        // An empty object has no range.
        let get = Call { method: Method::GET, key, query: &[], headers: &[], body: Bytes::new() };
        match self.send(get).await {
            Ok(response) => upload.write(&response.body).await?,
            Err(StorageError::Refused { status: StatusCode::NOT_FOUND, .. }) => return Ok(false),
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    /// Appends a part of the object `key` to `upload`. Returns false if there is no such object.
    pub(super) async fn fetch_part(
        &self,
        key: &str,
        part: Range<u64>,
        upload: &mut Upload,
    ) -> Result<bool, StorageError> {
        let mut first = part.start;
        while first < part.end {
            let end = (first + FETCH_BYTES).min(part.end);
            let range = [("range", format!("bytes={first}-{}", end - 1))];
            let get = Call { method: Method::GET, key, query: &[], headers: &range, body: Bytes::new() };
            match self.send(get).await {
                Ok(response) if response.body.len() as u64 == end - first => upload.write(&response.body).await?,
                Ok(_) => return Err(StorageError::Response("the bytes that were requested")),
                Err(StorageError::Refused { status: StatusCode::NOT_FOUND, .. }) => return Ok(false),
                Err(error) => return Err(error),
            }
            first = end;
        }
        Ok(true)
    }

    /// Deletes the object `key`, and all whose names begin with `thumbnails`.
    pub(super) async fn delete(&self, key: &str, thumbnails: &str) -> Result<(), StorageError> {
        self.delete_object(key).await?;
        let prefix = format!("{}{thumbnails}", self.location.prefix);
        for _ in 0..MAX_LISTS {
            let query = [("list-type", "2"), ("prefix", prefix.as_str())];
            let list = Call { method: Method::GET, key: "", query: &query, headers: &[], body: Bytes::new() };
            let found = xml::elements(&self.send(list).await?.body, "Key");
            if found.is_empty() {
                return Ok(());
            }
            for key in found {
                let key = key.strip_prefix(&self.location.prefix).unwrap_or(&key);
                self.delete_object(key).await?;
            }
        }
        Err(StorageError::Response("that all thumbnails are deleted"))
    }

    async fn delete_object(&self, key: &str) -> Result<(), StorageError> {
        let delete = Call { method: Method::DELETE, key, query: &[], headers: &[], body: Bytes::new() };
        match self.send(delete).await {
            // Some servers do not say that it is deleted when it was not there.
            Err(StorageError::Refused { status: StatusCode::NOT_FOUND, code }) if code == "NoSuchKey" => Ok(()),
            sent => sent.map(drop),
        }
    }

    async fn send(&self, call: Call<'_>) -> Result<WholeResponse, StorageError> {
        let request = self.signed(call)?;
        let limits = Limits { timeout: TIMEOUT, max_response_bytes: MAX_RESPONSE_BYTES };
        let response = self.http.fetch(Purpose::MediaStorage(limits), request).await?;
        if response.status.is_success() {
            return Ok(response);
        }
        let code = xml::elements(&response.body, "Code").pop().unwrap_or_default();
        Err(StorageError::Refused { status: response.status, code })
    }

    fn signed(&self, call: Call<'_>) -> Result<Request<Bytes>, StorageError> {
        let Call { method, key, query, headers, body } = call;
        let mut url = self.url.clone();
        if !key.is_empty() {
            let path = format!("{}{key}", self.location.prefix);
            for segment in path.split('/') {
                url.push('/');
                url.extend(percent_encode(segment));
            }
        }
        let query: Vec<String> =
            query.iter().map(|(name, value)| format!("{name}={}", percent_encode(value))).collect();
        let query = query.join("&");
        if !query.is_empty() {
            url.push('?');
            url.push_str(&query);
        }
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let mut request = request.body(body)?;
        let signer = Signer {
            region: &self.location.region_name,
            credentials: Credentials {
                access_key_id: &self.location.access_key_id,
                secret_access_key: self.location.secret_access_key.expose(),
                session_token: self.location.session_token.as_ref().map(|token| token.expose()),
            },
            now_ms: self.clock.now_ms(),
        };
        signer.sign(&mut request)?;
        Ok(request)
    }
}

/// Reads up to [`PART_BYTES`]; fewer are the end of the file.
async fn read_part(file: &mut File) -> io::Result<Bytes> {
    let length = usize::try_from(file.metadata().await?.len()).unwrap_or(PART_BYTES);
    let mut part = Vec::with_capacity(length.min(PART_BYTES));
    file.take(PART_BYTES as u64).read_to_end(&mut part).await?;
    Ok(part.into())
}
