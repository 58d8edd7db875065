//! A real S3 server: moto's, which checks the signatures of requests.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How often it is looked whether the server has started.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// How long it may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// The requests that are accepted without a signature: those of [`SETUP`].
const UNSIGNED_REQUESTS: &str = "4";

/// Makes a user with a key, and a bucket.
const SETUP: &str = r#"
import boto3, json, sys
def client(service):
    return boto3.client(service, endpoint_url=sys.argv[1], region_name="us-east-1", aws_access_key_id="x",
                        aws_secret_access_key="x")
iam = client("iam")
iam.create_user(UserName="plexus")
allow = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
iam.put_user_policy(UserName="plexus", PolicyName="all",
                    PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allow]}))
key = iam.create_access_key(UserName="plexus")["AccessKey"]
client("s3").create_bucket(Bucket=sys.argv[2])
print(key["AccessKeyId"], key["SecretAccessKey"])
"#;

/// Makes an object if a key is given, and prints the keys and sizes of all objects.
const OBJECTS: &str = r#"
import boto3, sys
s3 = boto3.client("s3", endpoint_url=sys.argv[1], region_name="us-east-1", aws_access_key_id=sys.argv[3],
                  aws_secret_access_key=sys.argv[4])
if len(sys.argv) > 5:
    s3.put_object(Bucket=sys.argv[2], Key=sys.argv[5], Body=b"x")
for found in s3.list_objects_v2(Bucket=sys.argv[2]).get("Contents", []):
    print(found["Size"], found["StorageClass"], found["Key"])
"#;

/// Begins to store an object in parts, with one part, if a key is given, and prints the keys of all unfinished ones.
const UNFINISHED: &str = r#"
import boto3, sys
s3 = boto3.client("s3", endpoint_url=sys.argv[1], region_name="us-east-1", aws_access_key_id=sys.argv[3],
                  aws_secret_access_key=sys.argv[4])
if len(sys.argv) > 5:
    upload = s3.create_multipart_upload(Bucket=sys.argv[2], Key=sys.argv[5])["UploadId"]
    s3.upload_part(Bucket=sys.argv[2], Key=sys.argv[5], UploadId=upload, PartNumber=1, Body=b"x")
for found in s3.list_multipart_uploads(Bucket=sys.argv[2]).get("Uploads", []):
    print(found["Key"])
"#;

/// An S3 server with one bucket.
pub struct S3Server {
    python: PathBuf,
    process: Child,
    address: SocketAddr,
    access_key_id: String,
    secret_access_key: String,
}

impl S3Server {
    /// The name of the bucket.
    pub const BUCKET: &str = "media";

    /// Starts a server; `None` if moto is not installed (`tests/peers/install.sh`).
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start() -> Option<Self> {
        let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/peers/venv/bin/python");
        let moto = python.with_file_name("moto_server");
        if !moto.exists() {
            crate::skip("storing media on an S3 server", &"tests/peers/install.sh has not been run");
            return None;
        }
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        drop(listener);
        let process = Command::new(moto)
            .args(["-H", "127.0.0.1", "-p", &address.port().to_string()])
            .env("INITIAL_NO_AUTH_ACTION_COUNT", UNSIGNED_REQUESTS)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("moto can be started");
        let mut server =
            Self { python, process, address, access_key_id: String::new(), secret_access_key: String::new() };
        let listens = async {
            let mut looks = crate::every(LOOK_INTERVAL);
            while TcpStream::connect(address).is_err() {
                looks.tick().await;
            }
        };
        crate::within(START_TIMEOUT, listens).await.expect("moto listens");
        let keys = server.python(SETUP, &[&server.url(), Self::BUCKET]);
        let (id, secret) = keys.trim().split_once(' ').expect("two words");
        (server.access_key_id, server.secret_access_key) = (id.to_owned(), secret.to_owned());
        Some(server)
    }

    /// Returns its address.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the entry of `media_storage_providers` that uses the bucket, with `options`.
    pub fn provider(&self, prefix: &str, options: &str) -> String {
        format!(
            "{{module: s3_storage_provider.S3StorageProviderBackend, {options}, config: {{bucket: {}, \
             prefix: '{prefix}', endpoint_url: '{}', access_key_id: '{}', secret_access_key: '{}', \
             storage_class: STANDARD_IA}}}}",
            Self::BUCKET,
            self.url(),
            self.access_key_id,
            self.secret_access_key
        )
    }

    /// Makes an object.
    pub fn put(&self, key: &str) {
        self.script(OBJECTS, &[key]);
    }

    /// Returns the size in bytes, the storage class and the key of every object, a line each.
    pub fn objects(&self) -> Vec<String> {
        self.script(OBJECTS, &[]).lines().map(str::to_owned).collect()
    }

    /// Begins to store an object in parts, as somebody does who never ends it.
    pub fn begin_parts(&self, key: &str) {
        self.script(UNFINISHED, &[key]);
    }

    /// Returns the keys of the objects that somebody has begun to store in parts.
    pub fn unfinished(&self) -> Vec<String> {
        self.script(UNFINISHED, &[]).lines().map(str::to_owned).collect()
    }

    fn script(&self, script: &str, more: &[&str]) -> String {
        let url = self.url();
        let args = [url.as_str(), Self::BUCKET, &self.access_key_id, &self.secret_access_key];
        self.python(script, &[&args, more].concat())
    }

    fn python(&self, script: &str, args: &[&str]) -> String {
        let output = Command::new(&self.python).args(["-c", script]).args(args).output().expect("Python runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        // It ends in any case.
        let _ = self.process.wait();
    }
}
