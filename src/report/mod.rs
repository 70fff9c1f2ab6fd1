//! After the relay: what finish hooks are told.

pub mod finish;
