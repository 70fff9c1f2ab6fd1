//! Safe glue between httpd and the crates: startup, selecting, attempts, finishing, the background thread.

pub mod background;
pub mod checks;
pub mod child;
pub mod config;
pub mod dicts;
pub mod finishing;
pub mod host;
pub mod keys;
pub mod peer;
pub mod places;
pub mod ramps;
pub mod room;
pub mod scope;
pub mod seats;
pub mod shared;
pub mod startup;
pub mod stuck;
pub mod timers;
pub mod tls;
pub mod vetting;
pub mod workers;
