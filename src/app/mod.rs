//! Safe glue between httpd and the crates: startup, selecting, attempts, finishing.

pub mod attempts;
pub mod background;
pub mod checks;
pub mod child;
pub mod config;
pub mod dicts;
pub mod events;
pub mod finishing;
pub mod goals;
pub mod host;
pub mod paths;
pub mod places;
pub mod queue;
pub mod record;
pub mod reverse;
pub mod rewritten;
pub mod seats;
pub mod selecting;
pub mod sessions;
pub mod shared;
pub mod snapshot;
pub mod startup;
pub mod tls;
pub mod vetting;
pub mod workers;
