//! This module's directives as they hold for a request.

use crate::app::config::{DirConfig, Hook, OnError, Rewrites, ServerConfig};
use crate::httpd::request::Request;
use crate::serve::child::Child;

/// This module's configuration for a request.
#[derive(Clone, Copy)]
pub struct Scope<'r> {
    /// Its section's.
    pub section: &'r DirConfig,
    /// Its virtual host's.
    pub server: &'r ServerConfig,
    /// The main server's.
    pub main: &'r ServerConfig,
}

/// Hooks of one kind.
pub type HooksOf = fn(&ServerConfig) -> &Vec<&'static Hook>;

impl<'r> Scope<'r> {
    /// Looks it up.
    pub fn of(request: Request<'r>, child: &'r Child) -> Option<Self> {
        Scope::below(request, child.main_config)
    }

    /// The same below this main server.
    pub fn below(request: Request<'r>, main: &'r ServerConfig) -> Option<Self> {
        // SAFETY: httpd hands back what `directives` made; both live as long as the configuration, longer than requests.
        #[allow(unsafe_code)]
        unsafe {
            let section = request.own_dir_config().cast::<DirConfig>().as_ref()?;
            let server = request.own_server_config().cast::<ServerConfig>().as_ref()?;
            Some(Scope { section, server, main })
        }
    }

    /// Hooks of one kind, the most specific place that has any.
    pub fn hooks(&self, section: Option<&'static [&'static Hook]>, of: HooksOf) -> &'r [&'static Hook] {
        if let Some(hooks) = section {
            return hooks;
        }
        let own = of(self.server);
        if own.is_empty() { of(self.main) } else { own }
    }

    /// The section's own hooks for after the response.
    pub fn finish_hooks(&self) -> &'r [&'static Hook] {
        self.hooks(self.section.finish, |s| &s.finish)
    }

    /// Whether a client's words may have become the handler that `SetHandler` names.
    pub fn has_open_handler(&self) -> bool {
        self.section.open_handler == Some(true)
    }

    /// Targets of mod_rewrite's rules, of the section and of the server.
    pub fn rewrites(&self) -> [Option<&'static Rewrites>; 3] {
        [self.section.rewrites, self.server.rewrites, self.main.rewrites]
    }

    /// What follows a script's failure.
    pub fn on_error(&self) -> &'r OnError {
        self.section.on_error.or(self.server.on_error).or(self.main.on_error).unwrap_or(&OnError::Error)
    }
}

/// Whether `LuaBalancerOnError` says that a script's failure is a 500 here.
pub fn errors_are_answers(request: Request<'_>, child: &Child) -> bool {
    let scope = Scope::of(request, child);
    !matches!(scope.map(|scope| scope.on_error()), Some(OnError::Decline))
}

/// The pool that `LuaBalancerOnError` names, if it names one.
pub fn pool_on_error<'r>(request: Request<'r>, child: &'r Child) -> Option<&'r str> {
    match Scope::of(request, child)?.on_error() {
        OnError::Pool(name) => Some(name),
        _ => None,
    }
}
