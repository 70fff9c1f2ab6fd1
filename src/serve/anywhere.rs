// SPDX-License-Identifier: Apache-2.0
//! Whether the configuration has something of a kind at all. Requests look no further where it has
//! nothing.

use std::sync::atomic::{AtomicBool, Ordering};

use config::{Config, HookKind};

/// Whether there is something of one kind, in any place.
pub struct Anywhere(AtomicBool);

impl Anywhere {
    const fn new() -> Self {
        Anywhere(AtomicBool::new(false))
    }

    /// Notes that there is one.
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
/// `LuaBalancerShadow`.
pub static SHADOW: Anywhere = Anywhere::new();
/// `SetHandler` whose target a client's words may become. It is noted while directives are read;
/// one of `.htaccess` is seen by the process that reads it.
pub static OPEN_HANDLERS: Anywhere = Anywhere::new();

const ALL: [(&Anywhere, HookKind); 4] = [
    (&TRANSLATE, HookKind::Translate),
    (&SELECT, HookKind::Select),
    (&FINISH, HookKind::Finish),
    (&SHADOW, HookKind::Shadow),
];

/// pre_config: another configuration is about to be read.
pub fn forget() {
    OPEN_HANDLERS.0.store(false, Ordering::Relaxed);
}

/// A configuration has been read.
pub fn note(config: &Config) {
    for (anywhere, kind) in ALL {
        anywhere.0.store(config.has_hooks(kind), Ordering::Relaxed);
    }
}
