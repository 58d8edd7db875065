//! The transports of MatrixRTC conferences.

pub(crate) mod transports;
