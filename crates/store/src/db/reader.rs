//! Reader threads: each owns a connection, which is opened on first use.

use super::connection::Connection;
use super::job::Job;
use super::read_queue::ReadQueue;
use super::{Options, Tx};

/// Runs read transactions until the queue is closed; `number` is the reader's number.
pub(super) fn run(options: &Options, queue: &ReadQueue, number: usize) {
    let mut conn = None;
    while let Some(mut job) = queue.next(number) {
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
            // Nothing can be lost, so the caller need not wait for the end of the transaction.
            job.answer();
            conn.rollback();
        }
        Err(error) => {
            job.fail(error);
            job.answer();
        }
    }
}
