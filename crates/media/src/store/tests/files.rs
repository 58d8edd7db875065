//! What becomes of files: stored once, left behind by a crash, deleted after a time, copied to storage providers.

use std::os::unix::fs::MetadataExt as _;

use plexus_base::config::StorageLocation;
use plexus_store::repo::media_files::{self, FileAction};

use super::*;
use crate::StorageError;
use crate::retention::{Lifetimes, MediaRetention};
use crate::storage::FOLDER;

impl Fixture {
    fn path(&self, media_id: &str) -> PathBuf {
        paths::content(self.folder.path(), media_id).expect("an id")
    }

    async fn stored(&self, bytes: &[u8]) -> String {
        self.store.store(&self.user, self.upload(bytes).await, text("a")).await.expect("stored")
    }
}

/// A store with a storage provider in `folder`.
async fn with_provider(database: &TestDatabase, folder: &Path, providers: &[&Path]) -> Fixture {
    with_settings(database, folder, providers.iter().map(|path| provider(path)).collect()).await
}

/// A store whose uploads wait for a storage provider in `copies`.
async fn with_synchronous_provider(database: &TestDatabase, folder: &Path, copies: &Path) -> Fixture {
    with_settings(database, folder, vec![ProviderSettings { store_synchronous: true, ..provider(copies) }]).await
}

fn provider(path: &Path) -> ProviderSettings {
    ProviderSettings {
        location: StorageLocation::Folder(path.to_path_buf()),
        store_local: true,
        store_remote: false,
        store_synchronous: false,
    }
}

async fn with_settings(database: &TestDatabase, folder: &Path, providers: Vec<ProviderSettings>) -> Fixture {
    let clock = Clock::manual(1_000_000);
    let parts = with_providers(folder, database.db(), &clock, providers);
    let store = MediaStore::open(settings(folder), parts).await.expect("opens");
    let folder = tempfile::TempDir::new().expect("a folder");
    Fixture { store, clock, user: "@alice:example.org".parse().expect("an id"), folder }
}

#[tokio::test]
async fn identical_files_are_stored_once() {
    for database in plexus_testkit::databases() {
        let fixture = fixture(database.db()).await;
        let first = fixture.stored(b"the same").await;
        let second = fixture.stored(b"the same").await;
        let other = fixture.stored(b"another!").await;
        let inode = |id: &str| std::fs::metadata(fixture.path(id)).expect("a file").ino();
        assert_eq!(inode(&first), inode(&second));
        assert_ne!(inode(&first), inode(&other));
        assert_eq!(fixture.incoming(), 0);
        // The one is deleted, the other stays.
        let file = MediaFile::local(&first);
        let delete = file.clone();
        let queued = fixture.store.database.write(move |tx| {
            media_files::enqueue(tx, FOLDER, &[delete], FileAction::Delete, 0)?;
            media::forget_unused(tx, &[file.file_id], u64::MAX >> 1)
        });
        queued.await.expect("queued");
        assert_eq!(fixture.store.storages().run_queue(FOLDER).await.expect("runs"), None);
        assert!(!fixture.path(&first).exists());
        assert_eq!(fixture.read(&second).await, b"the same");
        // A file that is gone from the folder, or was cut off, is not the same any more.
        std::fs::write(fixture.path(&second), b"th").expect("written");
        let third = fixture.stored(b"the same").await;
        assert_eq!(fixture.read(&third).await, b"the same");
        // Nor is one that was damaged.
        std::fs::write(fixture.path(&third), b"the SAME").expect("written");
        let fourth = fixture.stored(b"the same").await;
        assert_eq!(fixture.read(&fourth).await, b"the same");
        std::fs::remove_file(fixture.path(&fourth)).expect("deleted");
        std::fs::remove_file(fixture.path(&third)).expect("deleted");
        assert_eq!(fixture.read(&fixture.stored(b"the same").await).await, b"the same");
    }
}

#[tokio::test]
async fn what_was_recorded_before_a_crash_is_there_after_it() {
    for database in plexus_testkit::databases() {
        let fixture = fixture(database.db()).await;
        let recorded = fixture.stored(b"recorded").await;
        let twin = fixture.stored(b"recorded").await;
        let incoming = |id: &str| paths::incoming(fixture.folder.path()).join(paths::upload_name(id));
        // As if the process had ended before they were moved; the second time after the file had both names.
        std::fs::rename(fixture.path(&recorded), incoming(&recorded)).expect("moved");
        std::fs::hard_link(fixture.path(&twin), incoming(&twin)).expect("linked");
        std::fs::write(incoming("neverrecorded"), b"orphan").expect("written");
        let reserved = fixture.store.reserve(&fixture.user).await.expect("an id");
        std::fs::write(incoming(&reserved.media_id), b"not recorded").expect("written");
        fixture.reopen(&database).await;
        assert_eq!(fixture.incoming(), 0);
        assert_eq!(files(fixture.folder.path()), 2);
        assert_eq!(fixture.read(&recorded).await, b"recorded");
        assert_eq!(fixture.read(&twin).await, b"recorded");

        // Without a restart it is moved when it is requested.
        std::fs::rename(fixture.path(&recorded), incoming(&recorded)).expect("moved");
        assert_eq!(fixture.read(&recorded).await, b"recorded");
        assert_eq!(fixture.incoming(), 0);
    }
}

#[tokio::test]
async fn media_lives_as_long_as_it_is_requested() {
    for database in plexus_testkit::databases() {
        let Fixture { store, clock, user, folder } = fixture(database.db()).await;
        let fixture = Fixture { store, clock, user, folder };
        let (idle, used) = (fixture.stored(b"idle").await, fixture.stored(b"used").await);
        let avatar = fixture.stored(b"avatar").await;
        let url = format!("\"mxc://example.org/{avatar}\"");
        let set = move |tx: &mut Tx<'_>| plexus_store::repo::profiles::set(tx, "@a:example.org", "avatar_url", &url);
        database.db().write(set).await.expect("set");
        let Fixture { store, clock, folder, .. } = &fixture;
        let thumbnails = paths::thumbnails(folder.path(), &idle).expect("an id");
        std::fs::create_dir_all(&thumbnails).expect("made");
        std::fs::write(thumbnails.join("32-32-image-png-crop"), b"small").expect("written");
        let parts = parts(folder.path(), database.db(), clock);
        let second = Arc::new(MediaStore::open(settings(folder.path()), parts).await.expect("opens"));
        let lifetimes = Lifetimes { local: Some(24 * HOUR), remote: None };
        let retention = MediaRetention::new("example.org".parse().expect("a name"), Arc::clone(&second), lifetimes);

        clock.advance(20 * HOUR);
        drop(second.get(&used, Duration::ZERO).await.expect("is there"));
        assert_eq!(retention.apply().await.expect("runs"), 0);
        clock.advance(5 * HOUR);
        assert_eq!(retention.apply().await.expect("runs"), 1);
        let kept = avatar.clone();
        let kept = store.database.read(move |tx| media::get(tx, &kept)).await.expect("read").expect("is there");
        assert_eq!(kept.last_access_ms, Some(clock.now_ms()), "it is not looked at again before its lifetime is over");
        let gone = store.get(&idle, Duration::ZERO).await;
        assert!(matches!(gone, Err(MediaError::NotFound)), "{gone:?}");
        assert_eq!(store.storages().run_queue(FOLDER).await.expect("runs"), None);
        assert!(!fixture.path(&idle).exists() && !thumbnails.exists());
        clock.advance(20 * HOUR);
        assert_eq!(retention.apply().await.expect("runs"), 1);
        assert_eq!(fixture.read(&avatar).await, b"avatar");
        assert_eq!(retention.apply().await.expect("runs"), 0);
    }
}

#[tokio::test]
async fn providers_get_copies_and_give_them_back() {
    for database in plexus_testkit::databases() {
        let folders = [(); 2].map(|()| tempfile::TempDir::new().expect("a folder"));
        let [main, copies] = folders.each_ref().map(tempfile::TempDir::path);
        let fixture = with_provider(&database, main, &[copies]).await;
        let name = format!("file_system {}", copies.display());
        let media_id = fixture.stored(b"precious").await;
        let [here, there] = [main, copies].map(|root| paths::content(root, &media_id).expect("an id"));
        assert_eq!(fixture.store.storages().run_queue(&name).await.expect("runs"), None);
        assert_eq!(std::fs::read(&there).expect("a copy"), b"precious");

        std::fs::remove_file(&here).expect("deleted");
        assert_eq!(fixture.read(&media_id).await, b"precious");
        assert!(here.exists());
        // A damaged copy is not served.
        std::fs::remove_file(&here).expect("deleted");
        std::fs::write(&there, b"spoiled!").expect("written");
        let spoiled = fixture.store.get(&media_id, Duration::ZERO).await;
        assert!(matches!(spoiled, Err(MediaError::NotFound)), "{spoiled:?}");
        assert_eq!(std::fs::read_dir(paths::incoming(main)).expect("a folder").count(), 0);
    }
}

#[tokio::test]
async fn a_provider_that_is_down_delays_nothing_and_loses_nothing() {
    for database in plexus_testkit::databases() {
        let folders = [(); 3].map(|()| tempfile::TempDir::new().expect("a folder"));
        let [main, up, parent] = folders.each_ref().map(tempfile::TempDir::path);
        // A file is where the folder should be.
        let down = parent.join("mount");
        std::fs::write(&down, b"").expect("written");
        let fixture = with_provider(&database, main, &[&down, up]).await;
        let [down_name, up_name] = [&*down, up].map(|path| format!("file_system {}", path.display()));
        let ids = [fixture.stored(b"one").await, fixture.stored(b"two").await];
        let storages = fixture.store.storages();
        assert_eq!(storages.run_queue(&up_name).await.expect("runs"), None);
        assert_eq!(files(up), 2);
        let next_ms = storages.run_queue(&down_name).await.expect("runs").expect("it is tried again");
        assert_eq!(next_ms, fixture.clock.now_ms() + 60_000);
        // Meanwhile one of them is deleted: it never gets there.
        let gone = MediaFile::local(&ids[0]);
        let storages_of = Arc::clone(storages);
        let deleted = fixture.store.database.write(move |tx| {
            media::forget_unused(tx, std::slice::from_ref(&gone.file_id), u64::MAX >> 1)?;
            storages_of.queue_deletion(tx, &[gone])
        });
        deleted.await.expect("deleted");
        for name in [FOLDER, &up_name] {
            assert_eq!(storages.run_queue(name).await.expect("runs"), None);
        }
        assert_eq!((files(main), files(up)), (1, 1));
        storages.run_queue(&down_name).await.expect("runs").expect("it is tried again");

        std::fs::remove_file(&down).expect("deleted");
        std::fs::create_dir(&down).expect("made");
        fixture.clock.advance(Duration::from_secs(60));
        assert_eq!(storages.run_queue(&down_name).await.expect("runs"), None);
        assert_eq!(files(&down), 1);
        // A storage that is not configured keeps its queue.
        assert_eq!(storages.run_queue("s3 elsewhere").await.expect("runs"), None);
    }
}

#[tokio::test]
async fn a_file_that_is_missing_is_stored_when_it_is_back() {
    for database in plexus_testkit::databases() {
        let folders = [(); 2].map(|()| tempfile::TempDir::new().expect("a folder"));
        let [main, copies] = folders.each_ref().map(tempfile::TempDir::path);
        let fixture = with_provider(&database, main, &[copies]).await;
        let name = format!("file_system {}", copies.display());
        let storages = fixture.store.storages();
        let media_id = fixture.stored(b"precious").await;
        let [here, there] = [main, copies].map(|root| paths::content(root, &media_id).expect("an id"));
        let elsewhere = main.join("elsewhere");
        std::fs::rename(&here, &elsewhere).expect("moved");
        let next_ms = storages.run_queue(&name).await.expect("runs");
        assert_eq!(next_ms, Some(fixture.clock.now_ms() + 600_000));
        std::fs::rename(&elsewhere, &here).expect("moved");
        fixture.clock.advance(Duration::from_secs(600));
        assert_eq!(storages.run_queue(&name).await.expect("runs"), None);
        assert_eq!(std::fs::read(&there).expect("a copy"), b"precious");

        // Its row is written, and it is not at its place yet.
        let media_id = fixture.stored(b"recorded").await;
        let [here, there] = [main, copies].map(|root| paths::content(root, &media_id).expect("an id"));
        std::fs::rename(&here, paths::incoming(main).join(paths::upload_name(&media_id))).expect("moved");
        assert_eq!(storages.run_queue(&name).await.expect("runs"), None);
        assert_eq!(std::fs::read(&there).expect("a copy"), b"recorded");
        assert_eq!(fixture.read(&media_id).await, b"recorded");
    }
}

#[tokio::test]
async fn media_comes_back_under_a_lower_limit() {
    for database in plexus_testkit::databases() {
        let folders = [(); 2].map(|()| tempfile::TempDir::new().expect("a folder"));
        let [main, copies] = folders.each_ref().map(tempfile::TempDir::path);
        let mut fixture = with_provider(&database, main, &[copies]).await;
        let name = format!("file_system {}", copies.display());
        let media_id = fixture.stored(b"long before").await;
        assert_eq!(fixture.store.storages().run_queue(&name).await.expect("runs"), None);
        let [here, there] = [main, copies].map(|root| paths::content(root, &media_id).expect("an id"));
        fixture.store.uploads.max_bytes = 4;
        std::fs::remove_file(&here).expect("deleted");
        assert_eq!(fixture.read(&media_id).await, b"long before");
        // A copy that is longer than it was is damaged.
        std::fs::remove_file(&here).expect("deleted");
        std::fs::write(&there, b"long before, and more").expect("written");
        let longer = fixture.store.get(&media_id, Duration::ZERO).await;
        assert!(matches!(longer, Err(MediaError::NotFound)), "{longer:?}");
    }
}

#[tokio::test]
async fn an_upload_that_is_recorded_succeeds() {
    for database in plexus_testkit::databases() {
        let fixture = fixture(database.db()).await;
        // No file can be moved to its place.
        let place = fixture.folder.path().join("local_content");
        std::fs::write(&place, b"").expect("written");
        let stored = fixture.stored(b"stored").await;
        let reserved = fixture.store.reserve(&fixture.user).await.expect("an id").media_id;
        let upload = fixture.upload(b"filled").await;
        fixture.store.fill(&fixture.user, &reserved, upload, text("f")).await.expect("filled");
        std::fs::remove_file(&place).expect("deleted");
        assert_eq!(fixture.read(&stored).await, b"stored");
        assert_eq!(fixture.read(&reserved).await, b"filled");
        assert_eq!(fixture.incoming(), 0);
    }
}

#[tokio::test]
async fn a_transfer_goes_on_when_nobody_waits_for_it() {
    for database in plexus_testkit::databases() {
        let folders = [(); 2].map(|()| tempfile::TempDir::new().expect("a folder"));
        let [main, copies] = folders.each_ref().map(tempfile::TempDir::path);
        let fixture = with_synchronous_provider(&database, main, copies).await;
        let media_id = fixture.stored(b"precious").await;
        let there = paths::content(copies, &media_id).expect("an id");
        assert_eq!(std::fs::read(&there).expect("the upload has waited for it"), b"precious");

        std::fs::remove_file(&there).expect("deleted");
        let (storages, file) = (Arc::clone(fixture.store.storages()), MediaFile::local(&media_id));
        let queued = file.clone();
        let queue = move |tx: &mut Tx<'_>| storages.queue_storing(tx, &queued);
        fixture.store.database.write(queue).await.expect("queued");
        let mut waiting = Box::pin(fixture.store.storages().store_synchronously(&file));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        drop(waiting);
        let stored = async {
            let mut looks = plexus_testkit::every(Duration::from_millis(5));
            while !there.exists() {
                looks.tick().await;
            }
        };
        plexus_testkit::within(Duration::from_secs(60), stored).await.expect("it is stored");
        assert_eq!(std::fs::read(&there).expect("a copy"), b"precious");
    }
}

#[tokio::test]
async fn a_disk_that_is_not_mounted_stores_and_deletes_nothing() {
    for database in plexus_testkit::databases() {
        let folders = [(); 2].map(|()| tempfile::TempDir::new().expect("a folder"));
        let [main, parent] = folders.each_ref().map(tempfile::TempDir::path);
        let (mounted, elsewhere) = (parent.join("disk"), parent.join("elsewhere"));
        let fixture = with_provider(&database, main, &[&mounted]).await;
        let name = format!("file_system {}", mounted.display());
        let storages = fixture.store.storages();
        let gone = MediaFile::local(&fixture.stored(b"gone").await);
        assert_eq!(storages.run_queue(&name).await.expect("runs"), None);
        assert_eq!(files(&mounted), 1);
        std::fs::rename(&mounted, &elsewhere).expect("unmounted");
        std::fs::create_dir(&mounted).expect("made");

        let here = paths::content(main, &gone.file_id).expect("an id");
        std::fs::remove_file(here).expect("deleted");
        let failed = fixture.store.get(&gone.file_id, Duration::ZERO).await;
        assert!(matches!(failed, Err(MediaError::Storage(StorageError::NotMounted(_)))), "{failed:?}");
        let storages_of = Arc::clone(storages);
        let deleted = fixture.store.database.write(move |tx| {
            media::forget_unused(tx, std::slice::from_ref(&gone.file_id), u64::MAX >> 1)?;
            storages_of.queue_deletion(tx, &[gone])
        });
        deleted.await.expect("deleted");
        let media_id = fixture.stored(b"stored").await;
        storages.run_queue(&name).await.expect("runs").expect("it is tried again");
        assert_eq!(std::fs::read_dir(&mounted).expect("a folder").count(), 0);

        std::fs::remove_dir(&mounted).expect("deleted");
        std::fs::rename(&elsewhere, &mounted).expect("mounted");
        fixture.clock.advance(Duration::from_secs(60));
        assert_eq!(storages.run_queue(&name).await.expect("runs"), None);
        assert_eq!(files(&mounted), 1);
        assert_eq!(std::fs::read(paths::content(&mounted, &media_id).expect("an id")).expect("a copy"), b"stored");
    }
}
