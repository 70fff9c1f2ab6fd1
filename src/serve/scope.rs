// SPDX-License-Identifier: Apache-2.0
//! This module's directives as they hold for a request.

use balance::stock::handler::HandlerKind;
use config::{Admin, Hooks, OnError, Resolved, Rewrites};

use crate::httpd::request::Request;
use crate::serve::child::Child;
use crate::serve::own_config::{Main, Section, ServerConfig};

/// This module's configuration for a request.
#[derive(Clone, Copy)]
pub struct Scope<'r> {
    /// The directives of its section.
    pub section: &'r Section,
    /// The directives of its virtual host.
    pub server: &'r Section,
    /// The directives of the main server, and all values that directives name.
    pub main: &'r Main,
}

/// Hooks of one kind, where a section has any.
pub type HooksOf = fn(&Section) -> Option<Hooks>;

impl<'r> Scope<'r> {
    /// Looks the configuration up.
    pub fn of(request: Request<'r>, child: &'r Child) -> Option<Self> {
        Scope::below(request, child.main_config)
    }

    /// The configuration for a request below this main server.
    pub fn below(request: Request<'r>, main: &'r Main) -> Option<Self> {
        // SAFETY: httpd hands back what `directives` made; both live as long as the configuration,
        // longer than requests.
        #[allow(unsafe_code)]
        unsafe {
            let section = request.own_dir_config().cast::<Section>().as_ref()?;
            let server = request.own_server_config().cast::<ServerConfig>().as_ref()?;
            Some(Scope { section, server: &server.section, main })
        }
    }

    /// Hooks of one kind, the most specific place that has any. A script that takes every URL does
    /// not take those of the page and the API from the administrator, with the words of their
    /// `Authorization`: none decides where the handler is this module's own.
    #[inline]
    pub fn hooks(&self, of: HooksOf) -> &'r [Resolved] {
        if self.section.handler == Some(HandlerKind::Own) {
            return &[];
        }
        let hooks = of(self.section).or_else(|| of(self.server)).or_else(|| of(&self.main.section));
        hooks.map_or(&[], |hooks| self.main.config.hooks(hooks))
    }

    /// The section's own hooks for after the response.
    pub fn finish_hooks(&self) -> &'r [Resolved] {
        self.hooks(|section| section.finish)
    }

    /// Whether a client's words may have become the handler that `SetHandler` names.
    pub fn has_open_handler(&self) -> bool {
        self.section.handler == Some(HandlerKind::Open)
    }

    /// Targets of mod_rewrite's rules, of the section and of the server.
    pub fn rewrites(&self) -> [Option<&'static Rewrites<'static>>; 3] {
        [self.section.rewrites, self.server.rewrites, self.main.section.rewrites]
    }

    /// The words of `LuaBalancerAdmin` here, if any.
    pub fn admin(&self) -> Option<&'r Admin> {
        let rule = self.section.admin.or(self.server.admin).or(self.main.section.admin);
        rule.and_then(|rule| self.main.config.admin(rule))
    }

    /// The `LuaBalancerOnError` that holds for the request.
    pub fn on_error(&self) -> &'r OnError {
        let rule = self.section.on_error.or(self.server.on_error).or(self.main.section.on_error);
        rule.map_or(&OnError::Error, |rule| self.main.config.on_error(rule))
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
