//! The panic boundary: the body of every `extern "C"` function is one call of [`guard`].

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::httpd::log;

#[cfg(not(panic = "unwind"))]
compile_error!("mod_lua_balancer needs panic = \"unwind\": a panic has to end a request, not a child");

/// Runs `body`; on a panic gives `on_panic`, which is what httpd gets instead. The panic itself was logged by the hook
/// of [`log_panics`].
pub fn guard<T>(on_panic: T, body: impl FnOnce() -> T) -> T {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(value) => value,
        Err(payload) => {
            // A payload whose own Drop panics must not get past the border either.
            std::mem::forget(payload);
            on_panic
        }
    }
}

/// Makes a panic one line in the error log instead of raw lines on standard error.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|info| {
        let what = info
            .payload()
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| info.payload().downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned());
        let place = info.location().map(|l| format!("{}:{}", l.file(), l.line())).unwrap_or_default();
        log::server(log::CRIT, &format!("internal error (panic) at {place}: {what}"));
    }));
}
