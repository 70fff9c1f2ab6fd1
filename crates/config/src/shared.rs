// SPDX-License-Identifier: Apache-2.0
//! `LuaBalancerStore` and `LuaBalancerShare`: several servers as one.

use balance::settings::{Discovery, EtcdPlace, SourcePlace};

use crate::parse::words;
use crate::parts::Pool;
use crate::statement::Statement;

const STORE_EXAMPLE: &str = "for example LuaBalancerStore etcd:http://10.0.0.1:2379/lb/prod";

/// The place where several servers keep what they share, and the parts that they do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreSetting {
    /// `LuaBalancerStore`; files are as written.
    pub place: Option<EtcdPlace>,
    /// `LuaBalancerShare orders`.
    pub orders: bool,
}

/// Reads `LuaBalancerStore`.
pub(crate) fn store(_: &str, args: &str) -> Result<Statement, String> {
    let place = EtcdPlace::parse(&words(args)?).map_err(|error| error.to_string())?;
    Ok(Statement::Store(place))
}

/// Reads `LuaBalancerShare`.
pub(crate) fn share(_: &str, args: &str) -> Result<Statement, String> {
    match words(args)?.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["none"] => Ok(Statement::Share { orders: false }),
        ["orders"] => Ok(Statement::Share { orders: true }),
        ref other => Err(format!("'{}': expected orders or none", other.join(" "))),
    }
}

impl StoreSetting {
    /// Whether orders are shared.
    pub fn shares_orders(&self) -> Option<&EtcdPlace> {
        self.place.as_ref().filter(|_| self.orders)
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
        match self.orders && self.place.is_none() {
            true => Err(format!("LuaBalancerShare orders needs LuaBalancerStore, {STORE_EXAMPLE}")),
            false => Ok(()),
        }
    }
}
