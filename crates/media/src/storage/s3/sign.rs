//! AWS Signature Version 4 (IAM user guide, "Create a signed AWS API request"), in the Authorization header.

use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::header::{AUTHORIZATION, HOST, HeaderName};
use http::{HeaderValue, Request};
use sha2::{Digest as _, Sha256};

use crate::paths::hex;

const CONTENT_HASH: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// The key with which requests are signed.
pub(super) struct Credentials<'a> {
    pub(super) access_key_id: &'a str,
    pub(super) secret_access_key: &'a str,
    pub(super) session_token: Option<&'a str>,
}

/// Signs requests at one moment.
pub(super) struct Signer<'a> {
    pub(super) region: &'a str,
    pub(super) credentials: Credentials<'a>,
    pub(super) now_ms: u64,
}

impl Signer<'_> {
    /// Signs a request: its method, path, query and body, and all of its headers. The path and the query are encoded,
    /// and the parameters are in the order of their names.
    pub(super) fn sign(&self, request: &mut Request<Bytes>) -> Result<(), http::Error> {
        let time = timestamp(self.now_ms);
        let body_hash = hex(&Sha256::digest(request.body()));
        let host = request.uri().authority().map_or("", |authority| authority.as_str()).to_owned();
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::from_str(&host)?);
        headers.insert(CONTENT_HASH, HeaderValue::from_str(&body_hash)?);
        headers.insert(DATE, HeaderValue::from_str(&time)?);
        if let Some(token) = self.credentials.session_token {
            headers.insert(TOKEN, HeaderValue::from_str(token)?);
        }
        let (signed_headers, canonical) = canonical(request, &body_hash);
        let date = time.get(..8).unwrap_or_default();
        let scope = format!("{date}/{}/s3/aws4_request", self.region);
        let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
        let first = format!("AWS4{}", self.credentials.secret_access_key).into_bytes();
        let key = [date, self.region, "s3", "aws4_request"].iter().fold(first, |key, part| hmac(&key, part.as_bytes()));
        let signature = hex(&hmac(&key, to_sign.as_bytes()));
        let value = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={signed_headers}, Signature={signature}",
            self.credentials.access_key_id
        );
        request.headers_mut().insert(AUTHORIZATION, HeaderValue::from_str(&value)?);
        Ok(())
    }
}

/// Returns the names of the signed headers, and the canonical request.
fn canonical(request: &Request<Bytes>, body_hash: &str) -> (String, String) {
    let mut headers: Vec<(&str, &str)> =
        request.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap_or("").trim())).collect();
    headers.sort_unstable();
    let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let (method, uri) = (request.method(), request.uri());
    let (path, query) = (uri.path(), uri.query().unwrap_or(""));
    (names.clone(), format!("{method}\n{path}\n{query}\n{lines}\n{names}\n{body_hash}"))
}

fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    // A key of any length is accepted.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

/// Returns a time as `20130524T000000Z`.
fn timestamp(unix_ms: u64) -> String {
    let seconds = unix_ms / 1_000;
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let date = plexus_base::clock::date(days).replace('-', "");
    format!("{date}T{:02}{:02}{:02}Z", of_day / 3_600, of_day / 60 % 60, of_day % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(method: &str, url: &str, headers: &[(&str, &str)], body: &'static str) -> String {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Bytes::from_static(body.as_bytes())).unwrap();
        let credentials = Credentials {
            access_key_id: "AKIAIOSFODNN7EXAMPLE",
            secret_access_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            session_token: None,
        };
        Signer { region: "us-east-1", credentials, now_ms: 1_369_353_600_000 }.sign(&mut request).unwrap();
        let value = request.headers()[AUTHORIZATION].to_str().unwrap();
        value.rsplit_once("Signature=").unwrap().1.to_owned()
    }

    /// The examples of Amazon's reference ("Signature calculations for the Authorization header").
    #[test]
    fn signatures_are_those_of_the_reference() {
        let host = "https://examplebucket.s3.amazonaws.com";
        assert_eq!(
            signature("GET", &format!("{host}/test.txt"), &[("range", "bytes=0-9")], ""),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
        assert_eq!(
            signature(
                "PUT",
                &format!("{host}/test%24file.text"),
                &[("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")],
                "Welcome to Amazon S3."
            ),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
        );
        assert_eq!(
            signature("GET", &format!("{host}/?lifecycle="), &[], ""),
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
        );
        assert_eq!(
            signature("GET", &format!("{host}/?max-keys=2&prefix=J"), &[], ""),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
        );
    }

    #[test]
    fn times_are_written_without_punctuation() {
        assert_eq!(timestamp(1_369_353_600_000), "20130524T000000Z");
        assert_eq!(timestamp(1_709_251_199_999), "20240229T235959Z");
    }
}
