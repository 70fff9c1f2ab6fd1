// SPDX-License-Identifier: Apache-2.0
//! `LuaBalancerStore` and `LuaBalancerShare`: several servers as one.

use balance::settings::EtcdPlace;

use crate::parse::words;
use crate::statement::Statement;

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

    /// Looks whether both directives fit together.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self.orders && self.place.is_none() {
            true => Err("LuaBalancerShare orders needs LuaBalancerStore, for example \
                         LuaBalancerStore etcd:http://10.0.0.1:2379/lb/prod"
                .into()),
            false => Ok(()),
        }
    }
}
