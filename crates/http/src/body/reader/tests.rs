//! Bodies that are large, slow, or both.

use std::convert::Infallible;

use axum::body::Body;
use plexus_protocol::id::UserId;
use tokio::sync::mpsc;

use super::*;

const LIMIT: usize = MIB;

/// A body that a test sends piece by piece.
struct Sending {
    pieces: mpsc::UnboundedSender<usize>,
    body_reader: Arc<BodyReader>,
    clock: Clock,
}

impl Sending {
    async fn piece(&self, bytes: usize) {
        // The reader may have given up.
        let _ = self.pieces.send(bytes);
        // The reader has its turn until it waits for more.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }
}

fn request(body_reader: &Arc<BodyReader>, limit: usize, body: Body) -> Request {
    let mut request = Request::new(body);
    request.extensions_mut().insert(BodyRule { limit, body_reader: Arc::clone(body_reader) });
    request
}

/// Reads what `send` sends, as from a user.
async fn reading(send: impl AsyncFnOnce(Sending)) -> Result<usize, u16> {
    let clock = Clock::manual(0);
    let body_reader = BodyReader::new(clock.clone());
    let (pieces, received) = mpsc::unbounded_channel::<usize>();
    let body = futures_util::stream::unfold(received, async |mut received| {
        let bytes = received.recv().await?;
        Some((Ok::<_, Infallible>(Bytes::from(vec![b' '; bytes])), received))
    });
    let mut request = request(&body_reader, LIMIT, Body::from_stream(body));
    request.extensions_mut().insert(Authenticated(UserId::try_from("@a:b.example").unwrap()));
    let (read, ()) =
        tokio::join!(read(request), send(Sending { pieces, body_reader: Arc::clone(&body_reader), clock }));
    let read = read.map(|whole| {
        assert_eq!(body_reader.verified.held(), whole.bytes.len());
        whole.bytes.len()
    });
    assert_eq!((body_reader.verified.held(), body_reader.unverified_bytes()), (0, 0));
    read.map_err(|error| error.status().as_u16())
}

#[tokio::test]
async fn memory_is_taken_as_bytes_arrive() {
    let read = reading(async |sending| {
        sending.piece(1_000).await;
        assert_eq!(sending.body_reader.verified.held(), 1_000);
        sending.piece(200_000).await;
        assert_eq!(sending.body_reader.verified.held(), 201_000);
    });
    assert_eq!(read.await, Ok(201_000));
    let read = reading(async |sending| {
        sending.piece(LIMIT).await;
        assert_eq!(sending.body_reader.verified.held(), LIMIT);
        sending.piece(1).await;
        assert_eq!(sending.body_reader.verified.held(), 0);
    });
    assert_eq!(read.await, Err(413));
}

#[tokio::test]
async fn a_body_whose_length_is_not_announced_is_refused_when_it_is_too_large() {
    let (pieces, received) = mpsc::unbounded_channel::<Bytes>();
    let body = futures_util::stream::unfold(received, async |mut received| {
        let piece = received.recv().await?;
        Some((Ok::<_, Infallible>(piece), received))
    });
    let body_reader = BodyReader::new(Clock::manual(0));
    pieces.send(Bytes::from(vec![b' '; MAX_UNKNOWN_BYTES + 1])).unwrap();
    // Its sender does not end it, and time stands still.
    let mut refused = std::pin::pin!(read(request(&body_reader, LIMIT, Body::from_stream(body))));
    let refused = tokio::select! {
        biased;
        refused = &mut refused => refused.unwrap_err(),
        () = tokio::task::yield_now() => panic!("it waits for more"),
    };
    assert_eq!((refused.status().as_u16(), body_reader.unverified_bytes()), (413, 0));
    drop(pieces);
}

#[tokio::test]
async fn a_body_that_trickles_is_given_up() {
    let read = reading(async |sending| {
        sending.piece(500_000).await;
        for _ in 0..11 {
            sending.clock.advance(Duration::from_secs(1));
            sending.piece(100).await;
        }
        assert_eq!(sending.body_reader.verified.held(), 0);
    });
    assert_eq!(read.await, Err(408));
    let read = reading(async |sending| {
        for _ in 0..61 {
            sending.clock.advance(Duration::from_secs(1));
            sending.piece(MIN_PROGRESS_BYTES).await;
        }
    });
    assert_eq!(read.await, Err(408), "a minute for the whole of it");
    let read = reading(async |sending| {
        for _ in 0..5 {
            sending.clock.advance(Duration::from_secs(9));
            sending.piece(MIN_PROGRESS_BYTES).await;
        }
    });
    assert_eq!(read.await, Ok(5 * MIN_PROGRESS_BYTES));
    let read = reading(async |sending| {
        sending.piece(1_000).await;
        sending.clock.advance(Duration::from_secs(50));
        sending.piece(1_000).await;
    });
    assert_eq!(read.await, Ok(2_000), "of a small body one packet may be late");
}

#[tokio::test]
async fn an_unknown_sender_sends_little_on_every_route() {
    let body_reader = BodyReader::new(Clock::manual(0));
    let status = async |bytes: usize, limit: usize| {
        let read = read(request(&body_reader, limit, Body::from(vec![b' '; bytes]))).await;
        read.map(|whole| whole.bytes.len()).map_err(|error| error.status().as_u16())
    };
    assert_eq!(status(MAX_UNKNOWN_BYTES, MIB).await, Ok(MAX_UNKNOWN_BYTES));
    assert_eq!(status(MAX_UNKNOWN_BYTES + 1, MIB).await, Err(413));
    assert_eq!(status(11, 10).await, Err(413));
}

/// What is too large is read to its end, so that the client reads the response, but not for ever.
#[tokio::test]
async fn little_of_an_oversized_body_is_read() {
    let read_bytes = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = Arc::clone(&read_bytes);
    let pieces = (0..3 * MAX_DRAINED_BYTES / MIB).map(move |_| {
        counted.fetch_add(MIB, std::sync::atomic::Ordering::Relaxed);
        Ok::<_, Infallible>(Bytes::from(vec![b' '; MIB]))
    });
    let body = Body::from_stream(futures_util::stream::iter(pieces));
    let refused = drained(body, 0, &Clock::manual(0)).await;
    assert_eq!(refused.status().as_u16(), 413);
    assert_eq!(read_bytes.load(std::sync::atomic::Ordering::Relaxed), MAX_DRAINED_BYTES + MIB);
}

#[tokio::test]
async fn large_bodies_are_worked_on_elsewhere_and_few_at_a_time() {
    let body_reader = BodyReader::new(Clock::manual(0));
    let whole =
        |bytes: usize| WholeBody { bytes: vec![b' '; bytes].into(), body_reader: Arc::clone(&body_reader), held: None };
    let here = std::thread::current().id();
    let thread = |_: &[u8]| std::thread::current().id();
    assert_eq!(whole(MAX_INLINE_BYTES).work_on(thread).await.unwrap(), here);
    assert_ne!(whole(MAX_INLINE_BYTES + 1).work_on(thread).await.unwrap(), here);
    let turns = body_reader.large_at_once.acquire_many(u32::try_from(LARGE_AT_ONCE).unwrap()).await.unwrap();
    let mut waits = std::pin::pin!(whole(MAX_INLINE_BYTES + 1).work_on(thread));
    tokio::select! {
        biased;
        _ = &mut waits => panic!("too many at once"),
        () = tokio::task::yield_now() => {}
    }
    drop(turns);
    waits.await.unwrap();
}
