// SPDX-License-Identifier: Apache-2.0
//! The settings of a request: the part of the configuration that sections and virtual hosts have,
//! as plain numbers, since httpd merges sections for every request.

use std::num::NonZeroU32;

use balance::stock::handler::HandlerKind;

use crate::statement::HookKind;

/// A list of hooks, as a [`crate::Config`] knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hooks(pub(crate) NonZeroU32);

/// A `LuaBalancerOnError`, as a [`crate::Config`] knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorRule(pub(crate) NonZeroU32);

/// A `LuaBalancerAdmin`, as a [`crate::Config`] knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdminRule(pub(crate) NonZeroU32);

/// Directives of one section, or of one server outside of its sections. None: not given.
#[derive(Debug, Clone, Copy, Default)]
pub struct Section<'p> {
    /// `LuaHookTranslate`.
    pub translate: Option<Hooks>,
    /// `LuaHookSelect`.
    pub select: Option<Hooks>,
    /// `LuaHookFinish`.
    pub finish: Option<Hooks>,
    /// `LuaBalancerShadow`.
    pub shadow: Option<Hooks>,
    /// `LuaBalancerOnError`.
    pub on_error: Option<ErrorRule>,
    /// `LuaBalancerAdmin`.
    pub admin: Option<AdminRule>,
    /// Targets of mod_rewrite's `[P]` rules.
    pub rewrites: Option<&'p Rewrites<'p>>,
    /// The handler that `SetHandler` names.
    pub handler: Option<HandlerKind>,
}

impl<'p> Section<'p> {
    /// The inner section's word counts; what it does not say comes from the outer one. Rewrites,
    /// which both may have, are joined: `keep` gives the joined ones a place.
    pub fn merged(
        outer: &Self,
        inner: &Self,
        keep: impl FnOnce(Rewrites<'p>) -> Option<&'p Rewrites<'p>>,
    ) -> Self {
        let rewrites = match (inner.rewrites, outer.rewrites) {
            (Some(inner), Some(outer)) => keep(Rewrites::Both(inner, outer)),
            (one, other) => one.or(other),
        };
        Section {
            translate: inner.translate.or(outer.translate),
            select: inner.select.or(outer.select),
            finish: inner.finish.or(outer.finish),
            shadow: inner.shadow.or(outer.shadow),
            on_error: inner.on_error.or(outer.on_error),
            admin: inner.admin.or(outer.admin),
            rewrites,
            handler: inner.handler.or(outer.handler),
        }
    }

    pub(crate) fn hooks_mut(&mut self, kind: HookKind) -> &mut Option<Hooks> {
        match kind {
            HookKind::Translate => &mut self.translate,
            HookKind::Select => &mut self.select,
            HookKind::Finish => &mut self.finish,
            HookKind::Shadow => &mut self.shadow,
        }
    }
}

/// Targets of `RewriteRule … [P]`, as written.
#[derive(Debug)]
pub enum Rewrites<'p> {
    /// This one, and more.
    Rule(Vec<u8>, Option<&'p Rewrites<'p>>),
    /// The rules of a section, and of those around it, which it may inherit.
    Both(&'p Rewrites<'p>, &'p Rewrites<'p>),
}

impl Rewrites<'_> {
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
