//! Where storage providers keep media.

use std::path::PathBuf;

use serde_json::{Map, Value};

use super::Secret;
use crate::schema::{MapReader, options};

/// The names of the modules that are built in.
const FILE_SYSTEM: [&str; 2] = ["file_system", "synapse.rest.media.v1.storage_provider.FileStorageProviderBackend"];
const S3: &str = "s3_storage_provider.S3StorageProviderBackend";
/// The members of `config` for S3 that are used, and those that only Python needs.
const S3_MEMBERS: [&str; 11] = [
    "bucket",
    "prefix",
    "region_name",
    "endpoint_url",
    "access_key_id",
    "secret_access_key",
    "session_token",
    "storage_class",
    "threadpool_size",
    "request_checksum_calculation",
    "response_checksum_validation",
];

options! {
    /// Additional storage for media.
    pub struct StorageProvider checked by check {
        /// `file_system`, or `s3_storage_provider.S3StorageProviderBackend`, both of which are built in.
        acts module: String,
        /// Whether uploads of local users are stored there.
        acts store_local: bool = false,
        /// Whether media of other servers is stored there.
        acts store_remote: bool = false,
        /// Whether an upload waits until it is stored there, for up to 20 seconds. Otherwise, and after that, it is
        /// stored there in the background.
        acts store_synchronous: bool = false,
        /// The parameters of the provider: `directory` for `file_system`; `bucket`, `access_key_id`,
        /// `secret_access_key`, `region_name`, `endpoint_url`, `prefix`, `session_token` and `storage_class` for S3.
        acts config: Map<String, Value>,
    }
}

/// Where a storage provider keeps media.
#[derive(Debug, Clone)]
pub enum StorageLocation {
    /// In a folder.
    Folder(PathBuf),
    /// In a bucket of an S3 server.
    S3(S3Location),
}

/// A bucket of an S3 server.
#[derive(Debug, Clone)]
pub struct S3Location {
    /// The bucket's name.
    pub bucket: String,
    /// What the names of all objects begin with.
    pub prefix: String,
    /// The region.
    pub region_name: String,
    /// The address of the server; Amazon's if there is none.
    pub endpoint_url: Option<String>,
    /// The key with which requests are signed.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: Secret,
    /// The token of temporary credentials.
    pub session_token: Option<Secret>,
    /// The storage class of new objects.
    pub storage_class: String,
}

impl StorageProvider {
    /// Returns where the provider keeps media.
    ///
    /// # Errors
    /// When `module` is not known, or `config` not what it needs: the option, and the reason.
    pub fn location(&self) -> Result<StorageLocation, (&'static str, String)> {
        let config = Members(&self.config);
        if FILE_SYSTEM.contains(&self.module.as_str()) {
            let known = |name: &&String| name.as_str() != "directory";
            return match self.config.keys().find(known) {
                Some(name) => Err(("config", format!("{name} is no parameter of {}", self.module))),
                None => Ok(StorageLocation::Folder(config.text("directory")?.into())),
            };
        }
        if self.module != S3 {
            return Err(("module", format!("found {:?}; allowed is file_system or {S3}", self.module)));
        }
        if let Some(name) = self.config.keys().find(|name| !S3_MEMBERS.contains(&name.as_str())) {
            return Err(("config", format!("{name} is not supported")));
        }
        let endpoint_url = config.optional("endpoint_url")?;
        if let Some(url) = endpoint_url.as_ref().filter(|url| !is_http(url)) {
            return Err(("config", format!("endpoint_url: found {url:?}; it begins with http:// or https://")));
        }
        Ok(StorageLocation::S3(S3Location {
            bucket: config.text("bucket")?,
            prefix: config.optional("prefix")?.unwrap_or_default(),
            region_name: config.optional("region_name")?.unwrap_or_else(|| "us-east-1".to_owned()),
            endpoint_url,
            access_key_id: config.text("access_key_id")?,
            secret_access_key: Secret::new(config.text("secret_access_key")?),
            session_token: config.optional("session_token")?.map(Secret::new),
            storage_class: config.optional("storage_class")?.unwrap_or_else(|| "STANDARD".to_owned()),
        }))
    }
}

fn is_http(url: &str) -> bool {
    url.starts_with("http://") || url.starts_with("https://")
}

/// The parameters of a provider.
struct Members<'a>(&'a Map<String, Value>);

impl Members<'_> {
    fn optional(&self, name: &str) -> Result<Option<String>, (&'static str, String)> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(_) => Err(("config", format!("{name}: allowed is a string"))),
        }
    }

    fn text(&self, name: &str) -> Result<String, (&'static str, String)> {
        let text = self.optional(name)?.filter(|text| !text.is_empty());
        text.ok_or_else(|| ("config", format!("{name} is required; it is not taken from the environment")))
    }
}

/// Reports a provider that cannot be used.
fn check(provider: StorageProvider, map: &mut MapReader<'_, '_>) -> StorageProvider {
    if let Err((option, reason)) = provider.location() {
        map.error(option, reason);
    }
    provider
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn location(yaml: &str) -> Result<StorageLocation, String> {
        let text = format!("server_name: a.example\nmedia_storage_providers: [{{{yaml}}}]\n");
        let config = parse(&text).map_err(|report| report.to_string())?;
        config.media.media_storage_providers[0].location().map_err(|(option, reason)| format!("{option}: {reason}"))
    }

    #[test]
    fn providers_are_read_as_synapse_has_them() {
        let folder = location("module: file_system, config: {directory: /mnt/media}");
        assert!(matches!(folder, Ok(StorageLocation::Folder(path)) if path.as_os_str() == "/mnt/media"));
        let s3 = "module: s3_storage_provider.S3StorageProviderBackend, config: {bucket: b, access_key_id: 12, \
                  secret_access_key: s, threadpool_size: 40, endpoint_url: 'http://localhost:9000'}";
        let Ok(StorageLocation::S3(s3)) = location(s3) else { panic!("not read") };
        assert_eq!((s3.bucket.as_str(), s3.access_key_id.as_str(), s3.prefix.as_str()), ("b", "12", ""));
        assert_eq!((s3.region_name.as_str(), s3.storage_class.as_str()), ("us-east-1", "STANDARD"));
        assert_eq!(s3.secret_access_key.expose(), "s");
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        for (yaml, reason) in [
            ("module: somebody.Elses", "allowed is file_system"),
            ("module: file_system", "directory is required"),
            ("module: file_system, config: {directory: /a, depth: 3}", "depth is no parameter"),
            ("module: s3_storage_provider.S3StorageProviderBackend, config: {bucket: b}", "access_key_id is required"),
            (
                "module: s3_storage_provider.S3StorageProviderBackend, config: {sse_customer_key: k}",
                "sse_customer_key is not supported",
            ),
            (
                "module: s3_storage_provider.S3StorageProviderBackend, config: {endpoint_url: 'localhost:9000'}",
                "begins with http://",
            ),
        ] {
            let error = location(yaml).expect_err(yaml);
            assert!(error.contains(reason), "{yaml}: {error}");
        }
    }
}
