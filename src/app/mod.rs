//! Safe glue between httpd and the crates: startup, selecting, attempts, finishing, the background thread.

pub mod attempts;
pub mod background;
pub mod child;
pub mod config;
pub mod dicts;
pub mod finishing;
pub mod host;
pub mod outcome;
pub mod paths;
pub mod places;
pub mod queue;
pub mod ramps;
pub mod record;
pub mod reverse;
pub mod seats;
pub mod selecting;
pub mod sessions;
pub mod shared;
pub mod startup;
pub mod timers;
pub mod workers;
