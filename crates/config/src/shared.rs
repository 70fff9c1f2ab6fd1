// SPDX-License-Identifier: Apache-2.0
//! `LuaBalancerStore` and `LuaBalancerShare`: several servers as one.

use balance::settings::{Discovery, EtcdPlace, PoolSettings, Shared, SourcePlace};

use crate::parse::words;
use crate::parts::Pool;
use crate::statement::Statement;

const STORE_EXAMPLE: &str = "for example LuaBalancerStore etcd:http://10.0.0.1:2379/lb/prod";

/// The place where several servers keep what they share, and the parts that they do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreSetting {
    /// `LuaBalancerStore`; files are as written.
    pub place: Option<EtcdPlace>,
    /// `LuaBalancerShare` of the server, for pools that say nothing of their own.
    pub shared: Shared,
}

/// Reads `LuaBalancerStore`.
pub(crate) fn store(_: &str, args: &str) -> Result<Statement, String> {
    let place = EtcdPlace::parse(&words(args)?).map_err(|error| error.to_string())?;
    Ok(Statement::Store(place))
}

/// Reads `LuaBalancerShare`.
pub(crate) fn share(_: &str, args: &str) -> Result<Statement, String> {
    let shared = Shared::parse(&words(args)?);
    shared.map(Statement::Share).map_err(|error| error.to_string())
}

impl StoreSetting {
    /// The place, if any of these pools, or one that a script defines, shares something there that
    /// `is` it.
    pub fn place_of(&self, pools: &[Pool], is: impl Fn(&Shared) -> bool) -> Option<&EtcdPlace> {
        let own = pools.iter().filter_map(|pool| pool.settings.share.as_ref());
        self.place.as_ref().filter(|_| is(&self.shared) || own.into_iter().any(is))
    }

    /// The things that a pool shares.
    pub fn of_pool(&self, settings: &PoolSettings) -> Shared {
        settings.share.unwrap_or(self.shared)
    }

    /// Looks whether both directives and the sources of pools fit together.
    pub(crate) fn check(&self, pools: &[Pool]) -> Result<(), String> {
        let is_in_store = |source: &Discovery| match &source.source {
            SourcePlace::Etcd(place) => place.is_in_store(),
            _ => false,
        };
        let needing = |pool: &&Pool| self.place.is_none() && pool.settings.discovery.iter().any(is_in_store);
        if let Some(pool) = pools.iter().find(needing) {
            return Err(format!(
                "pool {} at {}: LuaBalancerDiscovery etcd:/PREFIX needs LuaBalancerStore, {STORE_EXAMPLE}",
                pool.name, pool.place
            ));
        }
        if self.place.is_some() {
            return Ok(());
        }
        let shares = |pool: &&Pool| pool.settings.share.is_some_and(|share| share.is_any());
        match (self.shared.is_any(), pools.iter().find(shares)) {
            (false, None) => Ok(()),
            (true, _) => Err(format!("LuaBalancerShare needs LuaBalancerStore, {STORE_EXAMPLE}")),
            (false, Some(pool)) => Err(format!(
                "pool {} at {}: LuaBalancerShare needs LuaBalancerStore, {STORE_EXAMPLE}",
                pool.name, pool.place
            )),
        }
    }
}
