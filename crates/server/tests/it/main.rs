//! Whole servers, booted in the process or as the real binary.

mod binary;
mod cli;
mod clients;
mod http_basics;
mod lifecycle;
mod listeners;
mod media;
