use tokio::io::AsyncReadExt as _;

use plexus_base::forward_proxy::ForwardProxies;
use plexus_net::dns::SystemNames;
use plexus_net::{AddressGuards, HttpClient, HttpSettings, TlsSettings};
use plexus_store::Tx;
use plexus_testkit::TestDatabase;

use super::thumbnails::CONCURRENT_THUMBNAILS;
use super::*;
use crate::storage::{FileTasks, ProviderSettings, StoragesParts};
use crate::{Method, ThumbnailError, ThumbnailSize};

const HOUR: Duration = Duration::from_secs(3600);

struct Fixture {
    store: MediaStore,
    clock: Clock,
    user: UserId,
    folder: tempfile::TempDir,
}

fn settings(folder: &Path) -> MediaSettings {
    MediaSettings {
        folder: folder.to_owned(),
        max_upload_bytes: 10_000,
        max_image_pixels: 1_000_000,
        thumbnail_sizes: vec![ThumbnailSize { width: 32, height: 32, method: Method::Crop }],
        dynamic_thumbnails: false,
        max_pending_uploads: 2,
        unused_expiration: HOUR,
        upload_limits: Vec::new(),
        min_free_bytes: 0,
        admin_contact: None,
    }
}

async fn fixture(database: Database) -> Fixture {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Clock::manual(1_000_000);
    let store = MediaStore::open(settings(folder.path()), parts(folder.path(), database, &clock)).await.expect("opens");
    Fixture { store, clock, user: "@alice:example.org".parse().expect("an id"), folder }
}

/// Nothing runs the tasks: tests call what they would.
struct NoTasks;

impl FileTasks for NoTasks {
    fn schedule(&self, _tx: &mut Tx<'_>, _storage: &str, _due_ms: u64) -> Result<(), DbError> {
        Ok(())
    }
}

fn parts(folder: &Path, database: Database, clock: &Clock) -> MediaStoreParts {
    with_providers(folder, database, clock, Vec::new())
}

fn with_providers(
    folder: &Path,
    database: Database,
    clock: &Clock,
    providers: Vec<ProviderSettings>,
) -> MediaStoreParts {
    let settings = HttpSettings {
        guards: AddressGuards::default(),
        proxies: ForwardProxies::default(),
        tls: TlsSettings {
            verify: true,
            unverified_hosts: Vec::new(),
            only_tls_1_3: false,
            authorities: Vec::new(),
            accept_any: false,
        },
        user_agent: String::new(),
        max_connections: 1,
    };
    let http = HttpClient::new(&settings, Arc::new(SystemNames::default()), clock.clone()).expect("a client");
    let (http, tasks) = (Arc::new(http), Arc::new(NoTasks));
    let background = Background::default();
    let storages =
        StoragesParts { http, database: database.clone(), clock: clock.clone(), background: background.clone(), tasks };
    MediaStoreParts {
        storages: Arc::new(Storages::new(folder, providers, storages)),
        policy_hooks: None,
        database,
        clock: clock.clone(),
        random: Random::seeded(1),
        background,
    }
}

impl Fixture {
    /// Opens the store again, as after a crash.
    async fn reopen(&self, database: &TestDatabase) {
        let parts = parts(self.folder.path(), database.db(), &self.clock);
        MediaStore::open(settings(self.folder.path()), parts).await.expect("opens");
    }

    async fn upload(&self, bytes: &[u8]) -> Upload {
        let mut upload = self.store.begin_upload().await.expect("begins");
        for chunk in bytes.chunks(7) {
            upload.write(chunk).await.expect("fits");
        }
        upload
    }

    async fn read(&self, media_id: &str) -> Vec<u8> {
        let mut open = self.store.get(media_id, Duration::ZERO).await.expect("is there");
        let mut bytes = Vec::new();
        open.file.read_to_end(&mut bytes).await.expect("is read");
        assert_eq!(open.head.length, bytes.len() as u64);
        bytes
    }

    fn incoming(&self) -> usize {
        std::fs::read_dir(paths::incoming(self.folder.path())).expect("a folder").count()
    }
}

fn text(name: &str) -> Description {
    Description { content_type: Some("text/plain".to_owned()), upload_name: Some(name.to_owned()) }
}

#[tokio::test]
async fn stored_media_is_served() {
    for database in plexus_testkit::databases() {
        let fixture = fixture(database.db()).await;
        let upload = fixture.upload(b"hello, world").await;
        let media_id = fixture.store.store(&fixture.user, upload, text("a.txt")).await.expect("stored");
        assert_eq!(fixture.read(&media_id).await, b"hello, world");
        let open = fixture.store.get(&media_id, Duration::ZERO).await.expect("is there");
        assert_eq!((open.head.content_type.as_str(), open.head.upload_name.as_deref()), ("text/plain", Some("a.txt")));
        assert_eq!(fixture.incoming(), 0);

        let unknown = fixture.store.get("ABCDEFGHIJ", HOUR).await;
        assert!(matches!(unknown, Err(MediaError::NotFound)), "{unknown:?}");
    }
}

#[tokio::test]
async fn too_much_is_refused_and_leaves_nothing() {
    for database in plexus_testkit::databases() {
        let fixture = fixture(database.db()).await;
        let mut upload = fixture.upload(&[0; 10_000]).await;
        let refused = upload.write(b"x").await;
        assert!(matches!(refused, Err(UploadError::TooLarge { limit: 10_000 })), "{refused:?}");
        assert_eq!(fixture.incoming(), 1);
        drop(upload);
        assert_eq!(fixture.incoming(), 0);
    }
}

/// The files of media in a folder, and in those below it.
fn files(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries
        .filter(|path| !path.ends_with(".plexus-storage"))
        .map(|path| if path.is_dir() { files(&path) } else { 1 })
        .sum()
}

#[tokio::test]
async fn without_a_row_there_is_no_file() {
    for database in plexus_testkit::databases() {
        let fixture = fixture(database.db()).await;
        let first = fixture.store.store(&fixture.user, fixture.upload(b"hello").await, text("a\0\n")).await;
        let open = fixture.store.get(&first.expect("stored"), Duration::ZERO).await.expect("is there");
        assert_eq!(open.head.upload_name.as_deref(), Some("a"));
        // From now on the database takes no second row of this length.
        let index = "CREATE UNIQUE INDEX one_of_a_length ON local_media (length)";
        database.write(move |tx| tx.execute(index, &[])).await.expect("an index");
        let stored = fixture.store.store(&fixture.user, fixture.upload(b"world").await, text("b")).await;
        assert!(matches!(stored, Err(MediaError::Database(_))), "{stored:?}");
        assert_eq!(files(fixture.folder.path()), 1);

        let reserved = fixture.store.reserve(&fixture.user).await.expect("an id");
        let fill = async |bytes: &[u8]| {
            fixture.store.fill(&fixture.user, &reserved.media_id, fixture.upload(bytes).await, text("b")).await
        };
        let filled = fill(b"world").await;
        assert!(matches!(filled, Err(MediaError::Database(_))), "{filled:?}");
        assert_eq!(files(fixture.folder.path()), 1);
        fill(b"another length").await.expect("filled");
        assert_eq!(fixture.read(&reserved.media_id).await, b"another length");
    }
}

#[tokio::test]
async fn an_upload_that_broke_off_with_the_process_is_deleted_at_the_next_start() {
    for database in plexus_testkit::databases() {
        let fixture = fixture(database.db()).await;
        let leftover = paths::incoming(fixture.folder.path()).join("leftover");
        std::fs::write(&leftover, b"half").expect("written");
        fixture.reopen(&database).await;
        assert!(!leftover.exists());
    }
}

#[tokio::test]
async fn an_id_is_filled_once_and_by_its_owner_only() {
    for database in plexus_testkit::databases() {
        let fixture = fixture(database.db()).await;
        let reserved = fixture.store.reserve(&fixture.user).await.expect("an id");
        assert_eq!(reserved.expires_ms, 1_000_000 + 3_600_000);
        let waiting = fixture.store.get(&reserved.media_id, Duration::ZERO).await;
        assert!(matches!(waiting, Err(MediaError::NotYetUploaded)), "{waiting:?}");

        let mallory = "@mallory:example.org".parse().expect("an id");
        let stolen = fixture.store.fill(&mallory, &reserved.media_id, fixture.upload(b"evil").await, text("e")).await;
        assert!(matches!(stolen, Err(MediaError::NotYours)), "{stolen:?}");

        let (first, second) = (fixture.upload(b"first").await, fixture.upload(b"second").await);
        let (first, second) = tokio::join!(
            fixture.store.fill(&fixture.user, &reserved.media_id, first, text("1")),
            fixture.store.fill(&fixture.user, &reserved.media_id, second, text("2")),
        );
        let winner: &[u8] = if first.is_ok() { b"first" } else { b"second" };
        let loser = if first.is_ok() { second } else { first };
        assert!(matches!(loser, Err(MediaError::CannotOverwrite)), "{loser:?}");
        assert_eq!(fixture.read(&reserved.media_id).await, winner);
    }
}

#[tokio::test]
async fn an_early_download_gets_the_content_once_it_is_uploaded() {
    for database in plexus_testkit::databases() {
        let fixture = fixture(database.db()).await;
        let reserved = fixture.store.reserve(&fixture.user).await.expect("an id");
        let upload = fixture.upload(b"late").await;
        let (got, filled) = tokio::join!(
            fixture.store.get(&reserved.media_id, HOUR),
            fixture.store.fill(&fixture.user, &reserved.media_id, upload, text("l")),
        );
        filled.expect("filled");
        assert_eq!(got.expect("content").head.length, 4);
    }
}

#[tokio::test]
async fn ids_are_limited_and_expire() {
    for database in plexus_testkit::databases() {
        let fixture = fixture(database.db()).await;
        let reserved = fixture.store.reserve(&fixture.user).await.expect("an id");
        fixture.clock.advance(Duration::from_secs(60));
        fixture.store.reserve(&fixture.user).await.expect("another");
        let third = fixture.store.reserve(&fixture.user).await;
        assert!(matches!(third, Err(MediaError::TooManyPending { retry_after_ms: 3_540_000 })), "{third:?}");

        fixture.clock.advance(HOUR);
        fixture.store.reserve(&fixture.user).await.expect("the old ones have expired");
        let late =
            fixture.store.fill(&fixture.user, &reserved.media_id, fixture.upload(b"late").await, text("l")).await;
        assert!(matches!(late, Err(MediaError::NotFound)), "{late:?}");
    }
}

#[tokio::test]
async fn thumbnails_are_made_once_and_only_of_images() {
    for database in plexus_testkit::databases() {
        let fixture = fixture(database.db()).await;
        let mut png = io::Cursor::new(Vec::new());
        image::RgbImage::new(64, 48).write_to(&mut png, image::ImageFormat::Png).expect("encoded");
        let about = Description { content_type: Some("image/png".to_owned()), upload_name: None };
        let upload = fixture.upload(png.get_ref()).await;
        let media_id = fixture.store.store(&fixture.user, upload, about).await.expect("stored");
        let request = ThumbnailRequest { width: 20, height: 20, method: Method::Crop, animated: false };
        let first = fixture.store.thumbnail(&media_id, request, Duration::ZERO, "asker").await.expect("a thumbnail");
        assert_eq!(first.head.content_type, "image/png");

        let source = paths::content(fixture.folder.path(), &media_id).expect("a path");
        std::fs::remove_file(source).expect("removed");
        let again = fixture.store.thumbnail(&media_id, request, Duration::ZERO, "asker").await.expect("kept");
        assert_eq!(again.head.length, first.head.length);

        let upload = fixture.upload(b"no image").await;
        let media_id = fixture.store.store(&fixture.user, upload, text("t")).await.expect("stored");
        let refused = fixture.store.thumbnail(&media_id, request, Duration::ZERO, "asker").await;
        assert!(matches!(refused, Err(MediaError::Thumbnail(ThumbnailError::NotAnImage))), "{refused:?}");
    }
}

#[tokio::test]
async fn no_animation_in_one_size_means_none_in_that_size_only() {
    for database in plexus_testkit::databases() {
        let mut fixture = fixture(database.db()).await;
        fixture.store.thumbnails.dynamic = true;
        let about = Description { content_type: Some("image/gif".to_owned()), upload_name: None };
        let upload = fixture.upload(include_bytes!("../thumbnail/images/animated.gif")).await;
        let media_id = fixture.store.store(&fixture.user, upload, about).await.expect("stored");
        let content = fixture.store.content(&media_id, Duration::ZERO).await.expect("is there");
        let made = async |width: u32| {
            let request = ThumbnailRequest { width, height: 8, method: Method::Crop, animated: true };
            let made = fixture.store.thumbnail(&media_id, request, Duration::ZERO, "asker").await.expect("a thumbnail");
            made.head.content_type
        };
        assert_eq!(made(8).await, "image/gif");
        let mark = |width: u32| {
            let size = ThumbnailSize { width, height: 8, method: Method::Crop };
            fixture.store.thumbnails.still.insert((content.sha256.as_slice().into(), size), ());
        };
        mark(9);
        mark(8);
        assert_eq!(made(9).await, "image/png");
        assert_eq!(made(10).await, "image/gif");
        assert_eq!(made(8).await, "image/gif", "one that exists is shown");
    }
}

#[tokio::test]
async fn a_full_disk_says_nothing_about_an_image() {
    for database in plexus_testkit::databases() {
        let mut fixture = fixture(database.db()).await;
        fixture.store.thumbnails.dynamic = true;
        let about = Description { content_type: Some("image/gif".to_owned()), upload_name: None };
        let upload = fixture.upload(include_bytes!("../thumbnail/images/animated.gif")).await;
        let media_id = fixture.store.store(&fixture.user, upload, about).await.expect("stored");
        let still = ThumbnailRequest { width: 8, height: 8, method: Method::Crop, animated: false };
        fixture.store.thumbnail(&media_id, still, Duration::ZERO, "asker").await.expect("a thumbnail");
        let animated = ThumbnailRequest { animated: true, ..still };
        let full = Arc::new(FreeSpace::new(fixture.folder.path(), u64::MAX));
        let roomy = std::mem::replace(&mut fixture.store.thumbnails.space, full);
        let shown = fixture.store.thumbnail(&media_id, animated, Duration::ZERO, "asker").await.expect("the still one");
        assert_eq!(shown.head.content_type, "image/png");
        fixture.store.thumbnails.space = roomy;
        let shown =
            fixture.store.thumbnail(&media_id, animated, Duration::ZERO, "asker").await.expect("the animated one");
        assert_eq!(shown.head.content_type, "image/gif");
    }
}

/// A client that hangs up does not end the work, so it must not make room for more of it either.
#[tokio::test(flavor = "multi_thread")]
async fn a_thumbnail_nobody_waits_for_still_counts() {
    let database = plexus_testkit::database::TestPlace::sqlite().open();
    let fixture = fixture(database.db()).await;
    let about = Description { content_type: Some("image/png".to_owned()), upload_name: None };
    let upload = fixture.upload(b"replaced below").await;
    let media_id = fixture.store.store(&fixture.user, upload, about).await.expect("stored");
    // Opening a pipe waits for a writer: the work lasts as long as the test wants.
    let pipe = paths::content(fixture.folder.path(), &media_id).expect("a path");
    std::fs::remove_file(&pipe).expect("removed");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs");
    assert!(made.success());

    let store = Arc::new(fixture.store);
    let asked = Arc::clone(&store);
    let request = ThumbnailRequest { width: 20, height: 20, method: Method::Crop, animated: false };
    let client = tokio::spawn(async move { asked.thumbnail(&media_id, request, HOUR, "asker").await.map(drop) });
    while store.thumbnails.thumbnails.available_permits() == CONCURRENT_THUMBNAILS {
        tokio::task::yield_now().await;
    }
    client.abort();
    assert!(client.await.is_err_and(|error| error.is_cancelled()));
    let free_meanwhile = store.thumbnails.thumbnails.available_permits();

    let finish = tokio::task::spawn_blocking(move || std::fs::OpenOptions::new().write(true).open(pipe));
    drop(finish.await.expect("not cancelled").expect("opened"));
    assert_eq!(free_meanwhile, CONCURRENT_THUMBNAILS - 1);
    let all = u32::try_from(CONCURRENT_THUMBNAILS).expect("small");
    drop(store.thumbnails.thumbnails.acquire_many(all).await.expect("open"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_behind_all_thumbnails_of_somebody_else() {
    let database = plexus_testkit::database::TestPlace::sqlite().open();
    let fixture = fixture(database.db()).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        let about = Description { content_type: Some("image/png".to_owned()), upload_name: None };
        let upload = fixture.upload(b"replaced below").await;
        ids.push(fixture.store.store(&fixture.user, upload, about).await.expect("stored"));
    }
    let paths: Vec<_> = ids.iter().filter_map(|id| paths::content(fixture.folder.path(), id)).collect();
    paths.iter().for_each(|path| std::fs::remove_file(path).expect("removed"));
    let (pipes, good) = paths.split_at(3);
    for pipe in pipes {
        assert!(std::process::Command::new("mkfifo").arg(pipe).status().expect("mkfifo runs").success());
    }
    image::RgbImage::new(50, 50).save_with_format(&good[0], image::ImageFormat::Png).expect("saved");

    let store = Arc::new(fixture.store);
    let request = ThumbnailRequest { width: 20, height: 20, method: Method::Crop, animated: false };
    let make = |id: &str, asker: &'static str| {
        let (store, id) = (Arc::clone(&store), id.to_owned());
        tokio::spawn(async move { store.thumbnail(&id, request, HOUR, asker).await.map(drop) })
    };
    let burst: Vec<_> = ids[..3].iter().map(|id| make(id, "busy")).collect();
    while store.thumbnails.thumbnails.available_permits() == CONCURRENT_THUMBNAILS {
        tokio::task::yield_now().await;
    }
    make(&ids[3], "other").await.expect("no panic").expect("a thumbnail");
    // All at once: which of them is read first is not known.
    let open = |pipe| tokio::task::spawn_blocking(move || std::fs::OpenOptions::new().write(true).open(pipe).map(drop));
    let opened: Vec<_> = pipes.iter().cloned().map(open).collect();
    for open in opened {
        open.await.expect("not cancelled").expect("opened");
    }
    for waiting in burst {
        waiting.await.expect("no panic").expect_err("an empty pipe is no image");
    }
}

mod files;
