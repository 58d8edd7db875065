//! Reader threads: each owns a connection, opened when it is first needed.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use super::connection::Connection;
use super::job::Job;
use super::{Options, Tx};

/// One message to a database thread.
pub(super) enum Message {
    Run(Box<dyn Job>),
    Stop,
}

pub(super) type SharedReceiver = Arc<Mutex<mpsc::Receiver<Message>>>;

/// Runs read transactions until told to stop.
pub(super) fn run(options: &Options, queue: &SharedReceiver) {
    let mut conn = None;
    loop {
        let message = queue.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let Some(Message::Run(mut job)) = message else {
            return;
        };
        if job.is_abandoned() {
            continue;
        }
        let opened = match conn.take() {
            Some(conn) => Ok(conn),
            None => Connection::open(options, false),
        };
        match opened {
            Ok(opened) => read(conn.insert(opened), job),
            Err(error) => {
                job.fail(error);
                job.answer();
            }
        }
    }
}

fn read(conn: &mut Connection, mut job: Box<dyn Job>) {
    match conn.begin_read() {
        Ok(()) => {
            job.run(&mut Tx::new(conn, None));
            // Nothing to lose: the caller need not wait for the end of the transaction.
            job.answer();
            conn.rollback();
        }
        Err(error) => {
            job.fail(error);
            job.answer();
        }
    }
}
