//! The number of written bytes that a socket's other end has not accepted: the one function here for which the standard
//! library and rustix have no safe call.

#![expect(
    unsafe_code,
    reason = "rustix leaves it to its callers to say what an ioctl writes; one call that writes one int"
)]

use std::ffi::c_int;
use std::io;
use std::os::fd::AsFd;

use rustix::ioctl::{Getter, Opcode, ioctl};

/// `SIOCOUTQ` of Linux (tcp(7), unix(7)).
const OUT_QUEUE: Opcode = 0x5411;

/// Returns the bytes in `socket`'s queue, sent and not acknowledged or not sent yet.
///
/// # Errors
/// When it is not a socket.
pub(super) fn unaccepted(socket: impl AsFd) -> io::Result<c_int> {
    // SAFETY: SIOCOUTQ writes one int to the address that it is given.
    let queued = unsafe { ioctl(socket, Getter::<OUT_QUEUE, c_int>::new()) };
    Ok(queued?)
}
