// SPDX-License-Identifier: Apache-2.0
//! The Lua runtime: one state a thread, scripts kept current from memory, a sandbox, limits, and
//! the API that scripts see. It knows neither httpd nor the shared table: both come in through the
//! traits of [`host`] and `balance::api`.
//!
//! Its files stand on floors; each imports those of its own floor and of the floors below:
//!
//! ```text
//! vetting  offline          whether a new version may be served; the plain host
//! state                     a thread's Lua state: calls, scripts kept current, runs of jobs
//! ngx                       OpenResty's names
//! api                       `lb`, pools, members, the request
//! luasocket                 LuaSocket's names
//! sandbox                   the environments that scripts run in
//! jobs                      what waits: `lb.http`, `lb.tcp`, timers
//! native                    functions of C in front of Lua's own, and the hook
//! context                   what all of these share in a state
//! decision  limits          what a script decides; what a call may take
//! rules  strings  source    what may be set; text; scripts as files
//! error  host               the ground
//! ```
#![deny(unsafe_code)]

mod api;
mod context;
mod decision;
mod error;
pub mod host;
mod jobs;
mod limits;
mod luasocket;
mod native;
mod ngx;
pub mod offline;
pub mod rules;
mod sandbox;
mod source;
mod state;
mod strings;
mod vetting;

pub use context::wait::{Connection, HttpAnswer, HttpRequest, Io, Reply};
pub use decision::answer::{Answer, MAX_MORE_TRIES, Peer};
pub use decision::asked::Question;
pub use decision::by_method::MethodCall;
pub use decision::definition::Definition;
pub use error::{ErrorKind, ScriptError};
pub use limits::budget::longest;
pub use limits::frame::{AttemptsSoFar, Phase};
pub use limits::watch;
pub use lua::RELEASE as LUA_RELEASE;
pub use source::bundle::{Bundle, BundleError};
pub use source::library::{Builder, CodeCache, Library, Limits, ScriptId};
pub use source::stamp::Stamp;
pub use state::asks::FinishResult;
pub use state::held::LuaState;
pub use state::lines::SeeLine;
pub use state::run::{CheckResult, Job, JobResult, Step};
pub use strings::text::unescape_with;
pub use strings::verbs::{check_limits, split_verbs};
pub use vetting::judge::{GoodVersion, judge, vet};
pub use vetting::verdict::Verdict;
pub use vetting::{alarm, report};
