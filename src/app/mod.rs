//! Safe glue between httpd and the crates: checks of the configuration, the background thread.

pub mod background;
pub mod checks;
pub mod ramps;
pub mod shared;
pub mod stuck;
pub mod timers;
