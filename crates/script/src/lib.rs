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
mod bundle;
mod context;
mod coroutines;
mod error;
mod expression;
mod forms;
mod hook;
pub mod host;
mod jobs;
mod judge;
mod library;
mod loaded;
mod loader;
mod luasocket;
mod ngx;
pub mod offline;
mod pattern;
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
mod walk;
pub mod watch;

pub use answer::{Answer, MAX_MORE_TRIES, Peer};
pub use asked::Question;
pub use bundle::{Bundle, BundleError};
pub use context::{Attempt, Definition, Phase, longest};
pub use error::{ErrorKind, ScriptError};
pub use jobs::io::{Connection, HttpAnswer, HttpRequest, Io, Reply};
pub use jobs::{CheckResult, Job, Step};
pub use judge::{Candidate, Verdict, judge, vet};
pub use library::{Builder, CodeCache, Library, Limits, ScriptId};
pub use source::Stamp;
pub use state::{FinishResult, State};
pub use text::unescape_with;
pub use verbs::{check_limits, split_verbs};
