// SPDX-License-Identifier: Apache-2.0
//! `lbctl` steers a running server: at its socket, and through its handler.

mod discovery;
mod doors;
mod dump;
mod explaining;
mod history;
mod rollout;
mod steering;
mod top;

use std::time::Duration;

use server_tests::{Backend, Builder, Httpd, pool};

const SOON: Duration = Duration::from_secs(10);

/// Two members, and a second pool that shares a machine.
fn serving(a: &Backend, b: &Backend) -> Builder {
    Httpd::builder()
        .with_member_states()
        .config(&pool("app", &[(a, "weight=5"), (b, "")], ""))
        .config(&pool("api", &[(a, ""), (b, "")], ""))
        .config("ProxyPass /app lb://app\nProxyPass /api lb://api")
}
