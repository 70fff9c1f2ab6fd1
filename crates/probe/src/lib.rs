//! Active health checks of many members on one thread: each target is one task on a single-threaded runtime that only
//! runs inside [`Prober::turn`].
#![forbid(unsafe_code)]

pub mod agent;
mod check;
mod prober;
mod schedule;
mod target;
mod text;
mod waker;

pub use agent::{AgentError, AgentReply, AgentState};
pub use prober::Prober;
pub use target::{Observation, Target};
pub use waker::Waker;
