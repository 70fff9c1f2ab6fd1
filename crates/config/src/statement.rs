// SPDX-License-Identifier: Apache-2.0
//! The meaning of a line of the configuration, before it is put together with others.

use balance::trial::Rollout;

use crate::doors::{Admin, Metrics};
use crate::sampling::Sampling;

/// The meaning of one directive. Paths are as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// `<LuaBalancerPool name>`: the section begins.
    Pool(String),
    /// `LuaBalancerMember`.
    Member {
        /// The URL as written.
        url: String,
        /// Words of mod_proxy_hcheck.
        checks: Vec<String>,
        /// All other words.
        keys: Vec<String>,
    },
    /// A directive of a pool that `balance` reads: its words.
    Setting(Vec<String>),
    /// A hook.
    Hook(HookKind, Callee),
    /// `LuaBalancerShadow`.
    Shadow {
        /// The function that is looked at.
        callee: Callee,
        /// Requests for which it runs, in hundredths of a percent.
        share: u32,
    },
    /// `LuaBalancerTimer`.
    Timer {
        /// The function that it runs.
        callee: Callee,
        /// Milliseconds from start to start.
        every_ms: u64,
    },
    /// `LuaRegisterFunc`.
    Register {
        /// The name that it gives.
        name: String,
        /// The function that the name stands for.
        callee: Callee,
    },
    /// `LuaBalancerPackagePath`: the patterns of one line.
    PackagePath(Vec<String>),
    /// `LuaBalancerCodeCache`.
    CodeCache(CodeCache),
    /// `LuaBalancerScriptLimit`: what is not given stays.
    ScriptLimit {
        /// Milliseconds of one call.
        time_ms: Option<u64>,
        /// Bytes of one Lua state.
        memory: Option<u64>,
    },
    /// `LuaBalancerRollout`. None: off.
    Rollout(Option<Rollout>),
    /// `LuaBalancerOnError`.
    OnError(OnError),
    /// `LuaBalancerSandbox`.
    Sandbox(bool),
    /// `LuaBalancerGeoIP`: the files of one line.
    GeoIp(Vec<String>),
    /// `LuaBalancerDict`.
    Dict {
        /// Its name.
        name: String,
        /// Bytes.
        size: usize,
    },
    /// `LuaBalancerMaxMembers`.
    MaxMembers(u32),
    /// `LuaBalancerSocket`. None: not given.
    Socket {
        /// None: there is to be no socket.
        path: Option<String>,
        /// Rights of its file.
        mode: Option<u32>,
        /// Name of its group.
        group: Option<String>,
    },
    /// `LuaBalancerMetrics`.
    Metrics(Metrics),
    /// `LuaBalancerDecisions`.
    Decisions(Sampling),
    /// `LuaBalancerAdmin`.
    Admin(Admin),
    /// `LuaBalancerStateFile`.
    StateFile {
        /// None: there is to be no file.
        path: Option<String>,
        /// Seconds for which anything of it holds.
        max_age_s: u64,
        /// Seconds for which what checks and requests say holds.
        health_age_s: u64,
    },
    /// `LuaBalancerStore`.
    Store(balance::settings::EtcdPlace),
    /// `LuaBalancerShare`.
    Share(balance::settings::Shared),
}

/// The function that a directive names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Callee {
    /// A function in a file; `-` for the file as a whole.
    File {
        /// As written.
        path: String,
        /// Function name or `-`.
        function: String,
    },
    /// Lua in the configuration: the text of a function expression.
    Inline(String),
    /// A name that `LuaRegisterFunc` gave.
    Registered(String),
}

/// When a hook's function is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookKind {
    /// `LuaHookTranslate`.
    Translate,
    /// `LuaHookSelect`.
    Select,
    /// `LuaHookFinish`.
    Finish,
    /// `LuaBalancerShadow`.
    Shadow,
}

/// The consequence of a failing script for its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnError {
    /// 500.
    Error,
    /// As if there were no hook.
    Decline,
    /// It goes to that pool.
    Pool(String),
}

/// `LuaBalancerCodeCache`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeCache {
    /// Files are watched.
    Stat,
    /// Files are read once.
    Forever,
    /// Files are read for every request.
    Never,
}

/// `LuaBalancerScriptLimit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Milliseconds of one call.
    pub time_ms: u64,
    /// Bytes of one Lua state.
    pub memory: u64,
}

/// The limit of selection functions where nothing is said.
pub const DEFAULT_LIMIT: Limit = Limit { time_ms: 50, memory: 16 << 20 };
