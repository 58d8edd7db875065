//! Whole servers, booted in the process or as the real binary.

