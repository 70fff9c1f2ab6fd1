// SPDX-License-Identifier: Apache-2.0
//! The statements that have been read so far.

use std::num::NonZeroU32;

use balance::trial::Rollout;

use crate::directive::Directive;
use crate::doors::{Admin, Metrics, Socket};
use crate::kept::StateSetting;
use crate::parts::{Dict, GeoFile, Pool};
use crate::place::Position;
use crate::sampling::Sampling;
use crate::section::{Hooks, Section};
use crate::shared::StoreSetting;
use crate::statement::{CodeCache, HookKind, OnError};

/// Dictionaries that a configuration may have.
pub const MOST_DICTS: usize = 256;
/// Number of the main server.
pub(crate) const MAIN: usize = 0;

/// Where a statement stands.
pub struct At<'a, 'p> {
    /// Its directive.
    pub directive: &'static Directive,
    /// File and line.
    pub place: Position,
    /// Number of its virtual host, 0 for the main server.
    pub server: usize,
    /// The settings of its section, or its server, for requests.
    pub section: &'a mut Section<'p>,
}

/// Directives of one server (virtual host). None: not given, the main server's holds.
#[derive(Debug, Default)]
pub(crate) struct Server {
    /// `LuaRegisterFunc`: names, with numbers of uses.
    pub(crate) registered: Vec<(String, usize)>,
    /// `LuaBalancerPackagePath`, in order.
    pub(crate) package_path: Vec<String>,
    /// `LuaBalancerCodeCache`.
    pub(crate) code_cache: Option<CodeCache>,
    /// `time=` of `LuaBalancerScriptLimit`, in milliseconds.
    pub(crate) time_ms: Option<u64>,
    /// `memory=` of `LuaBalancerScriptLimit`, in bytes.
    pub(crate) memory: Option<u64>,
    /// `LuaBalancerRollout`. Some(None): off.
    pub(crate) rollout: Option<Option<Rollout>>,
}

/// One use of a function.
#[derive(Debug)]
pub(crate) struct Use {
    /// The function.
    pub(crate) source: Source,
    /// The directive that names it.
    pub(crate) directive: &'static str,
    /// Its place in the configuration.
    pub(crate) place: Position,
    /// The virtual host it stands in.
    pub(crate) server: usize,
    /// Of a `LuaBalancerShadow`: requests for which it runs, in hundredths of a percent.
    pub(crate) share: Option<u32>,
}

/// The source of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A file (full path) and a function in it.
    File { path: String, function: String },
    /// Lua in the configuration. `beside`: where it looks for modules first.
    Inline { code: String, name: String, beside: String },
    /// A name that `LuaRegisterFunc` gave.
    Registered(String),
}

/// A configuration while its directives are being read.
#[derive(Debug)]
pub struct Draft {
    pub(crate) pools: Vec<Pool>,
    /// The section being read.
    pub(crate) open_pool: Option<usize>,
    /// The first is the main server.
    pub(crate) servers: Vec<Server>,
    /// Every use of a function, in order.
    pub(crate) uses: Vec<Use>,
    /// Lists of hooks, as numbers of uses. The first stays empty.
    pub(crate) lists: Vec<Vec<usize>>,
    pub(crate) kinds: Vec<HookKind>,
    /// Uses, and milliseconds from start to start.
    pub(crate) timers: Vec<(usize, u64)>,
    pub(crate) dicts: Vec<Dict>,
    pub(crate) geo_files: Vec<GeoFile>,
    /// `LuaBalancerOnError`, with their places.
    pub(crate) error_rules: Vec<(OnError, Position)>,
    /// `key=` expressions that are kept.
    pub(crate) expressions: Vec<String>,
    pub(crate) max_members: u32,
    pub(crate) sandbox: bool,
    pub(crate) socket: Socket,
    pub(crate) metrics: Metrics,
    pub(crate) sampling: Sampling,
    /// `LuaBalancerAdmin`.
    pub(crate) admins: Vec<Admin>,
    pub(crate) state_file: StateSetting,
    pub(crate) store: StoreSetting,
}

impl Default for Draft {
    /// The settings without any directive.
    fn default() -> Self {
        Draft {
            pools: Vec::new(),
            open_pool: None,
            servers: vec![Server::default()],
            uses: Vec::new(),
            lists: vec![Vec::new()],
            kinds: Vec::new(),
            timers: Vec::new(),
            dicts: Vec::new(),
            geo_files: Vec::new(),
            error_rules: Vec::new(),
            expressions: Vec::new(),
            max_members: 1024,
            sandbox: true,
            socket: Socket::default(),
            metrics: Metrics::default(),
            sampling: Sampling::default(),
            admins: Vec::new(),
            state_file: StateSetting::default(),
            store: StoreSetting::default(),
        }
    }
}

impl Draft {
    pub(crate) fn server(&mut self, at: &At<'_, '_>) -> &mut Server {
        let known = if at.server < self.servers.len() { at.server } else { MAIN };
        &mut self.servers[known]
    }

    /// A list of hooks with one more. The list before stays as it is: others may have it.
    pub(crate) fn longer(&mut self, before: Option<Hooks>, number_of_use: usize) -> Result<Hooks, String> {
        let before = before.and_then(|Hooks(at)| self.lists.get(at.get() as usize));
        let mut list = before.cloned().unwrap_or_default();
        list.push(number_of_use);
        let hooks = Hooks(number(self.lists.len())?);
        self.lists.push(list);
        Ok(hooks)
    }
}

pub(crate) fn number(count: usize) -> Result<NonZeroU32, String> {
    let number = u32::try_from(count).ok().and_then(NonZeroU32::new);
    number.ok_or_else(|| "there are too many directives of this kind".to_owned())
}
