//! Timers and checks, and what they wait for.

pub(crate) mod arguments;
pub(crate) mod http;
pub(crate) mod io;
pub(crate) mod kept;
pub(crate) mod reply;
pub(crate) mod run;
pub(crate) mod timers;
pub(crate) mod wait;
