// SPDX-License-Identifier: Apache-2.0
//! The panic boundary: the body of every `extern "C"` function is one call of [`guard`].

use std::panic::{AssertUnwindSafe, catch_unwind};

#[cfg(not(panic = "unwind"))]
compile_error!("mod_lua_balancer needs panic = \"unwind\": a panic has to end a request, not a child");

/// Runs `body`; on a panic gives `on_panic`, which is what httpd gets instead. The panic itself was
/// logged by the hook of `httpd::log`.
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
