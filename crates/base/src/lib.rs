//! What every other crate stands on: time, randomness, configuration and logging.
//!
//! - [`clock`]: the time of day and elapsed time, as an argument
//! - [`random`]: randomness, as an argument

pub mod clock;
pub mod random;

pub use clock::Clock;
pub use random::Random;
