//! What is still to be parted into wings: the configuration and its phases.

pub mod checks;
pub mod config;
pub mod startup;
