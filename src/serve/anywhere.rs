// SPDX-License-Identifier: Apache-2.0
//! Whether the configuration has hooks of a kind at all. Requests look no further where it has none.

use std::sync::atomic::{AtomicBool, Ordering};

use config::{Config, HookKind};

/// Whether there are hooks of one kind, in any place.
pub struct Anywhere(AtomicBool);

impl Anywhere {
    const fn new() -> Self {
        Anywhere(AtomicBool::new(false))
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

const ALL: [(&Anywhere, HookKind); 3] =
    [(&TRANSLATE, HookKind::Translate), (&SELECT, HookKind::Select), (&FINISH, HookKind::Finish)];

/// A configuration has been read.
pub fn note(config: &Config) {
    for (anywhere, kind) in ALL {
        anywhere.0.store(config.has_hooks(kind), Ordering::Relaxed);
    }
}
