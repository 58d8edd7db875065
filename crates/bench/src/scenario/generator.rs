//! The cost of the load generator: this program against a built-in server that only responds.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use crate::http::{Connection, Request};
use crate::process::thread_seconds;
use crate::report::Better;
use crate::run::Run;
use crate::target::{TargetError, ask};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 64\r\n\r\n\
    {\"event_id\":\"$0123456789012345678901234567890123456789012\",\"\":0}";
const PATH: &str = "/_matrix/client/v3/rooms/%21room%3Aserver.example/send/m.room.message/1";
const BODY: &[u8] = br#"{"body":"a message of some forty letters or so","msgtype":"m.text"}"#;

pub(super) async fn measure(run: &mut Run) -> Result<(), TargetError> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    // Its threads end with this program.
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            std::thread::spawn(move || answer(stream));
        }
    });
    let mut connections = Vec::new();
    for _ in 0..run.options.users {
        connections.push(Connection::open(&address).await?);
    }
    for _ in 0..run.options.rounds {
        let (started, used) = (run.clock.monotonic(), thread_seconds());
        let duration = run.options.duration();
        let drives = connections.iter_mut().map(async |connection| {
            let mut count = 0.0;
            while run.clock.monotonic() - started < duration {
                ask(connection, Request::json("PUT", PATH, Some("Bearer token"), Some(BODY))).await?;
                count += 1.0;
            }
            Ok::<f64, TargetError>(count)
        });
        let count: f64 = futures_util::future::try_join_all(drives).await?.iter().sum();
        let seconds = (run.clock.monotonic() - started).as_secs_f64();
        run.add("generator", ("requests", "per second", Better::More), 0, count / seconds);
        if let (Some(before), Some(now)) = (used, thread_seconds()) {
            let each = (now - before) / count;
            run.add("generator", ("processor time of a request", "µs", Better::Less), 0, each * 1e6);
            let cores = each * 20_000.0;
            run.add("generator", ("cores for 20,000 requests a second", "cores", Better::Less), 0, cores);
        }
    }
    Ok(())
}

/// Responds to each read with one response: requests are smaller than the buffer and arrive one by one.
fn answer(mut stream: std::net::TcpStream) {
    let mut buffer = [0; 4096];
    let _ = stream.set_nodelay(true);
    while stream.read(&mut buffer).is_ok_and(|length| length > 0) {
        if stream.write_all(ANSWER).is_err() {
            return;
        }
    }
}
