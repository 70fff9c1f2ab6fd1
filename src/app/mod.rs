//! Safe glue between httpd and the crates: startup, selecting, attempts, finishing, the background thread.

pub mod background;
pub mod checks;
pub mod config;
pub mod ramps;
pub mod shared;
pub mod startup;
pub mod stuck;
pub mod timers;
