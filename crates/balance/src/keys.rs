// SPDX-License-Identifier: Apache-2.0
//! The names of all keys, by directive. The parsers, a script's pool definition and the reference
//! go by these lists.

pub use crate::directives::consul_source::KEYS as DISCOVERY_CONSUL;
pub use crate::directives::discovery::KEYS as DISCOVERY;
pub use crate::directives::dns_source::KEYS as DISCOVERY_DNS;
pub use crate::directives::etcd_source::KEYS as DISCOVERY_ETCD;
pub use crate::directives::health::{
    COMMON as CHECK, HTTP as CHECK_HTTP, HTTPS as CHECK_HTTPS, LUA as CHECK_LUA,
};
pub use crate::directives::http_source::KEYS as DISCOVERY_HTTP;
pub use crate::directives::kubernetes_source::KEYS as DISCOVERY_KUBERNETES;
pub use crate::directives::lua_source::KEYS as DISCOVERY_LUA;
pub use crate::directives::method::KEYS as METHOD;
pub use crate::directives::outlier::KEYS as OUTLIER;
pub use crate::directives::set::KEYS as SET;
pub use crate::directives::sticky::KEYS as STICKY;
pub use crate::line::MEMBER_KEYS as MEMBER;
pub use crate::stock::hcheck::KEYS as MEMBER_CHECK;
