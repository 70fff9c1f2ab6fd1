// SPDX-License-Identifier: Apache-2.0
//! `LuaBalancerDecisions`: which decisions are kept to be looked at.

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampling {
    /// How many are kept.
    pub size: u32,
    /// The share of all requests, in hundredths of a percent.
    pub share: u32,
    /// Beside that, all requests that failed.
    pub errors: bool,
    /// Beside that, all requests with more than one attempt.
    pub retries: bool,
}

impl Default for Sampling {
    /// The settings without the directive.
    fn default() -> Self {
        Sampling { size: 512, share: 100, errors: true, retries: true }
    }
}

impl Sampling {
    /// Nothing is kept.
    pub(crate) const OFF: Sampling = Sampling { size: 0, share: 0, errors: false, retries: false };
}
