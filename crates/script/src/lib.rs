//! The Lua runtime: one state a thread, scripts kept current from memory, a sandbox, limits, and the API that scripts see.
//! It knows neither httpd nor the shared table: both come in through the traits of [`host`] and `balance::api`.
#![deny(unsafe_code)]

// Linked, not called by name: mlua does.
use lua as _;

pub mod alarm;
mod answer;
mod api;
mod asked;
mod bounds;
mod budget;
mod bundle;
mod cfunctions;
mod chunk;
mod context;
mod coroutines;
mod definition;
mod error;
mod expression;
mod forms;
mod frame;
mod hook;
pub mod host;
mod jobs;
mod judge;
mod library;
mod loaded;
mod loader;
mod luasocket;
mod memory;
mod ngx;
pub mod offline;
mod pattern;
mod picks;
mod processor;
pub mod report;
pub mod rules;
mod sandbox;
mod seen;
mod shortcuts;
mod source;
mod state;
mod strings;
mod text;
mod texts;
mod verbs;
mod verdict;
mod walk;
pub mod watch;

pub use answer::{Answer, MAX_MORE_TRIES, Peer};
pub use asked::Question;
pub use budget::longest;
pub use bundle::{Bundle, BundleError};
pub use definition::Definition;
pub use error::{ErrorKind, ScriptError};
pub use frame::{Attempt, Phase};
pub use jobs::run::{CheckResult, Job, Step};
pub use jobs::wait::{Connection, HttpAnswer, HttpRequest, Io, Reply};
pub use judge::{Candidate, judge, vet};
pub use library::{Builder, CodeCache, Library, Limits, ScriptId};
pub use source::Stamp;
pub use state::{FinishResult, State};
pub use text::unescape_with;
pub use verbs::{check_limits, split_verbs};
pub use verdict::Verdict;
