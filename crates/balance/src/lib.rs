//! Pools, members and the choice among them: pure. Time and randomness are arguments; nothing here does I/O or knows httpd.
#![forbid(unsafe_code)]

pub mod api;
pub mod live;
pub mod member;
pub mod settings;
pub mod status;
pub mod store;
pub mod url;
