//! What is still to be parted into wings: the configuration and its phases.

pub mod background;
pub mod checks;
pub mod config;
pub mod events;
pub mod shared;
pub mod snapshot;
pub mod startup;
