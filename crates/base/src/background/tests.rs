use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::oneshot;
use tracing_subscriber::fmt::MakeWriter;

use super::*;

const TIMEOUT: Duration = Duration::from_secs(60);

/// The log as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).unwrap()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Captures the log of this thread until the guard is dropped.
fn logged() -> (Log, tracing::subscriber::DefaultGuard) {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
    let guard = tracing::subscriber::set_default(subscriber);
    (log, guard)
}

#[tokio::test]
async fn a_panic_is_logged_with_the_name_of_its_task() {
    let (log, _guard) = logged();
    let background = Background::default();
    let task = background.spawn("leaving rooms", async { panic!("no room {}", 7) });
    let error = task.await.unwrap_err();
    assert!(error.is_panic());
    let text = log.text();
    assert!(text.contains("the background task \"leaving rooms\" panicked: no room 7"), "{text}");
    assert!(background.running().is_empty());
    background.shutdown(TIMEOUT).await;
}

#[tokio::test]
async fn shutdown_waits_for_work_that_has_begun() {
    let background = Background::default();
    let (go_on, wait) = oneshot::channel::<()>();
    let done = Arc::new(AtomicBool::new(false));
    let task_done = Arc::clone(&done);
    background.spawn("storing", async move {
        wait.await.unwrap();
        task_done.store(true, Ordering::SeqCst);
    });
    let mut shutdown = pin!(background.shutdown(TIMEOUT));
    assert!(!is_ready(shutdown.as_mut()).await);
    assert_eq!(background.running(), ["storing"]);
    go_on.send(()).unwrap();
    shutdown.await;
    assert!(done.load(Ordering::SeqCst));
}

#[tokio::test]
async fn shutdown_aborts_work_that_may_be_aborted() {
    let background = Background::default();
    let endless = background.spawn_abortable("housekeeping", std::future::pending::<()>());
    background.shutdown(TIMEOUT).await;
    assert!(endless.await.unwrap_err().is_cancelled());
}

/// Records whether its task is still listed when it is dropped.
struct Probe(Background, Arc<AtomicBool>);

impl Drop for Probe {
    fn drop(&mut self) {
        self.1.store(!self.0.running().is_empty(), Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_task_that_never_ran_is_listed_until_its_future_is_dropped() {
    let (background, listed) = (Background::default(), Arc::new(AtomicBool::new(false)));
    let probe = Probe(background.clone(), Arc::clone(&listed));
    background.spawn_abortable("never polled", async move {
        let _probe = probe;
        std::future::pending::<()>().await;
    });
    background.shutdown(TIMEOUT).await;
    assert!(listed.load(Ordering::SeqCst));
}

#[tokio::test]
async fn shutdown_does_not_wait_for_ever() {
    let (log, _guard) = logged();
    let background = Background::default();
    let stuck = background.spawn("stuck", std::future::pending::<()>());
    background.shutdown(Duration::ZERO).await;
    assert!(stuck.await.unwrap_err().is_cancelled());
    assert!(log.text().contains("did not end within 0 s: stuck"), "{}", log.text());
}

#[tokio::test]
async fn shutdown_waits_for_tasks_that_tasks_have_spawned() {
    let background = Background::default();
    let done = Arc::new(AtomicBool::new(false));
    let (inner, inner_done) = (background.clone(), Arc::clone(&done));
    background.spawn("outer", async move {
        tokio::task::yield_now().await;
        inner.spawn("inner", async move {
            tokio::task::yield_now().await;
            inner_done.store(true, Ordering::SeqCst);
        });
    });
    background.shutdown(TIMEOUT).await;
    assert!(done.load(Ordering::SeqCst));
}

/// Whether the future is ready after other tasks have run.
async fn is_ready(mut future: std::pin::Pin<&mut impl Future<Output = ()>>) -> bool {
    for _ in 0..10 {
        tokio::task::yield_now().await;
        if poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await {
            return true;
        }
    }
    false
}
