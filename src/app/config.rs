//! What the directives say, as plain values. `directives` fills it in, `startup` freezes it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use balance::member::MemberSpec;
use balance::settings::PoolSettings;
use balance::stock::hcheck;
use script::ScriptId;

use crate::httpd::config::Expression;

/// Place of a directive, for messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// Configuration file.
    pub file: String,
    /// Line in it.
    pub line: u32,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {} of {}", self.line, self.file)
    }
}

/// One `<LuaBalancerPool>`.
pub struct PoolConfig {
    /// Its name.
    pub name: String,
    /// Where it begins.
    pub place: Place,
    /// Everything but the members.
    pub settings: PoolSettings,
    /// The members in order.
    pub members: Vec<MemberSpec>,
    /// Where each of them is written.
    pub member_places: Vec<Place>,
    /// What each says in mod_proxy_hcheck's words.
    pub member_checks: Vec<hcheck::Keys>,
    /// Scripts of `LuaBalancerMethod lua` and Lua checks.
    pub scripts: Vec<PoolScript>,
}

/// A script that a pool names.
pub struct PoolScript {
    /// As written, which is how the pool's settings name it.
    pub written: String,
    /// Full path.
    pub path: String,
    /// Function in it.
    pub function: String,
    /// Where it is written.
    pub place: Place,
}

/// A file of `LuaBalancerGeoIP`.
pub struct GeoFile {
    /// Full path.
    pub path: PathBuf,
    /// Where it is written.
    pub place: Place,
}

/// One `LuaBalancerDict`.
pub struct DictConfig {
    /// Its name.
    pub name: String,
    /// Bytes.
    pub size: usize,
    /// Where it is written.
    pub place: Place,
}

/// Where a hook's function comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file (full path) and a function in it; `-` for the file as a whole.
    File {
        /// Full path.
        path: String,
        /// Function name or `-`.
        function: String,
    },
    /// Lua in the configuration: the text of a function expression.
    Inline {
        /// `function(r) … end`.
        code: String,
        /// Name given by LuaRegisterFunc.
        name: String,
        /// Where it looks for modules first, as a file does in its own folder: under ServerRoot.
        beside: String,
    },
    /// A name that LuaRegisterFunc gave.
    Registered(String),
}

/// One use of a function: resolved to a script of the library once all directives are read.
pub struct Hook {
    /// As written.
    pub source: Source,
    /// Where it is written.
    pub place: Place,
    /// The virtual host it stands in, as an index into [`Global::servers`].
    pub server: usize,
    /// What it turned out to be.
    pub resolved: OnceLock<Resolved>,
}

/// A `LuaBalancerTimer`.
pub struct TimerConfig {
    /// What it runs.
    pub hook: &'static Hook,
    /// Milliseconds from start to start.
    pub every_ms: u64,
}

/// A `LuaBalancerTimer`, with its script found.
#[derive(Debug, Clone)]
pub struct Timer {
    /// The script.
    pub script: ScriptId,
    /// The function in it, `-` for the file as a whole.
    pub function: String,
    /// Milliseconds from start to start.
    pub every_ms: u64,
}

/// A script of the library and a function in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Index into the library.
    pub script: usize,
    /// Function name or `-`.
    pub function: String,
}

/// What a failing script means for its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnError {
    /// 500.
    Error,
    /// As if there were no hook.
    Decline,
    /// That pool.
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

/// Default limit of selection functions.
pub const DEFAULT_LIMIT: Limit = Limit { time_ms: 50, memory: 16 << 20 };

/// Directives of one server (virtual host). None: not given, the main server's holds.
#[derive(Default)]
pub struct ServerConfig {
    /// Index into [`Global::servers`], once known.
    pub index: OnceLock<usize>,
    /// `LuaHookTranslate` outside of sections.
    pub translate: Vec<&'static Hook>,
    /// `LuaHookSelect` outside of sections.
    pub select: Vec<&'static Hook>,
    /// `LuaHookFinish` outside of sections.
    pub finish: Vec<&'static Hook>,
    /// `LuaRegisterFunc`.
    pub registered: Vec<(String, &'static Hook)>,
    /// `LuaBalancerPackagePath`, in order.
    pub package_path: Vec<String>,
    /// `LuaBalancerCodeCache`.
    pub code_cache: Option<CodeCache>,
    /// `LuaBalancerScriptLimit`.
    pub limit: Option<Limit>,
    /// `LuaBalancerOnError` outside of sections.
    pub on_error: Option<&'static OnError>,
    /// Targets of mod_rewrite's `[P]` rules outside of sections.
    pub rewrites: Option<&'static Rewrites>,
}

/// Whether the configuration has hooks of one kind, in any place. Requests look no further where it has none.
pub struct Anywhere(AtomicBool);

impl Anywhere {
    const fn new() -> Self {
        Anywhere(AtomicBool::new(false))
    }

    /// There is one. Called while the configuration is read.
    pub fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether there is any.
    #[inline]
    pub fn is_there(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// `LuaHookTranslate`.
pub static TRANSLATE: Anywhere = Anywhere::new();
/// `LuaHookSelect`.
pub static SELECT: Anywhere = Anywhere::new();
/// `LuaHookFinish`.
pub static FINISH: Anywhere = Anywhere::new();
/// `SetHandler` whose target a client's words may become; one of `.htaccess` is seen by the process that reads it.
pub static OPEN_HANDLERS: Anywhere = Anywhere::new();

/// Another configuration is about to be read.
pub fn forget_hooks() {
    for kind in [&TRANSLATE, &SELECT, &FINISH, &OPEN_HANDLERS] {
        kind.0.store(false, Ordering::Relaxed);
    }
}

/// Targets of `RewriteRule … [P]`, as written.
pub enum Rewrites {
    /// This one, and more.
    Rule(Vec<u8>, Option<&'static Rewrites>),
    /// Those of a section, and those around it, which it may inherit.
    Both(&'static Rewrites, &'static Rewrites),
}

impl Rewrites {
    /// Whether one of the targets is like this. Sections within sections are few.
    pub fn any(&self, is: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        let mut now = self;
        loop {
            match now {
                Rewrites::Rule(target, _) if is(target) => return true,
                Rewrites::Rule(_, Some(rest)) => now = rest,
                Rewrites::Rule(_, None) => return false,
                Rewrites::Both(inner, _) if inner.any(is) => return true,
                Rewrites::Both(_, outer) => now = outer,
            }
        }
    }
}

/// Directives of one Location: a plain value of pointers, since httpd merges these for every request.
#[derive(Clone, Copy, Default)]
pub struct DirConfig {
    /// `LuaHookTranslate`.
    pub translate: Option<&'static [&'static Hook]>,
    /// `LuaHookSelect`.
    pub select: Option<&'static [&'static Hook]>,
    /// `LuaHookFinish`.
    pub finish: Option<&'static [&'static Hook]>,
    /// `LuaBalancerOnError`.
    pub on_error: Option<&'static OnError>,
    /// Targets of mod_rewrite's `[P]` rules.
    pub rewrites: Option<&'static Rewrites>,
    /// Whether a client's words may become what `SetHandler` says.
    pub open_handler: Option<bool>,
}

impl DirConfig {
    /// The inner section's word counts; what it does not say comes from the outer one. Of rewrites, which both may have, the
    /// caller keeps the outer one's.
    pub fn merged(outer: &DirConfig, inner: &DirConfig) -> DirConfig {
        DirConfig {
            translate: inner.translate.or(outer.translate),
            select: inner.select.or(outer.select),
            finish: inner.finish.or(outer.finish),
            on_error: inner.on_error.or(outer.on_error),
            rewrites: inner.rewrites.or(outer.rewrites),
            open_handler: inner.open_handler.or(outer.open_handler),
        }
    }
}

/// Everything that belongs to the server as a whole. One value a configuration cycle.
pub struct Global {
    /// The pools.
    pub pools: Vec<PoolConfig>,
    /// The section being read.
    pub open_pool: Option<usize>,
    /// Every hook, for resolving.
    pub hooks: Vec<&'static Hook>,
    /// The timers.
    pub timers: Vec<TimerConfig>,
    /// Server configurations that directives were seen in; the first is the main server's.
    pub servers: Vec<*const ServerConfig>,
    /// Parsed `key=` expressions by text.
    pub expressions: Vec<(String, Expression)>,
    /// `LuaBalancerDict`.
    pub dicts: Vec<DictConfig>,
    /// `LuaBalancerMaxMembers`.
    pub max_members: u32,
    /// `LuaBalancerSandbox`.
    pub sandbox: bool,
    /// `LuaBalancerGeoIP`, in order.
    pub geo_files: Vec<GeoFile>,
    /// What was read of them.
    pub geo: Option<Arc<geo::Databases>>,
    /// Scripts as check_config found them, where post_config follows at once.
    pub vetted: Option<Vec<Vetted>>,
    /// Pools of `LuaBalancerOnError`, with their places.
    pub fallbacks: Vec<(String, Place)>,
}

/// A script's good version, or what is wrong with it.
pub type Vetted = Result<script::Candidate, script::ScriptError>;

impl Default for Global {
    fn default() -> Self {
        Global {
            pools: Vec::new(),
            open_pool: None,
            hooks: Vec::new(),
            timers: Vec::new(),
            servers: Vec::new(),
            expressions: Vec::new(),
            dicts: Vec::new(),
            max_members: 1024,
            sandbox: true,
            geo_files: Vec::new(),
            fallbacks: Vec::new(),
            geo: None,
            vetted: None,
        }
    }
}

/// Whether a name of a pool or dictionary is one: letters, digits, `_ - .`, 1 to 63.
fn is_name(name: &str) -> bool {
    (1..=63).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

/// Whether a pool name is one.
pub fn check_pool_name(name: &str) -> Result<(), String> {
    if is_name(name) {
        Ok(())
    } else {
        Err(format!(
            "'{name}' cannot name a pool: expected 1 to 63 letters, digits, '_', '-' or '.', for example <LuaBalancerPool app>"
        ))
    }
}

/// Whether a dictionary's name is one.
pub fn check_dict_name(name: &str) -> Result<(), String> {
    if is_name(name) {
        Ok(())
    } else {
        Err(format!(
            "'{name}' cannot name a dictionary: expected 1 to 63 letters, digits, '_', '-' or '.', for example \
             LuaBalancerDict sessions 1M"
        ))
    }
}
