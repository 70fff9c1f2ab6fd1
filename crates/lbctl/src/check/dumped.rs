// SPDX-License-Identifier: Apache-2.0
//! The configuration as httpd itself has read it (`httpd -t -D DUMP_LUA_BALANCER`), beside the one
//! that is read here.

use std::path::Path;

use config::Position;
use serde::Deserialize;

use super::findings::Remark;
use crate::conf::read;

#[derive(Deserialize)]
struct Dump {
    pools: Vec<Dumped>,
}

#[derive(Deserialize)]
struct Dumped {
    name: String,
    file: String,
    line: u32,
}

/// Pools that httpd has and that are not looked at here; and whether the module is there at all.
pub fn unseen(dump: &str, file: &Path, defines: &[String]) -> Vec<Remark> {
    let Ok(dump) = serde_json::from_str::<Dump>(dump) else {
        let place = Position { file: file.display().to_string(), line: 1 };
        let text = "httpd takes it, without mod_lua_balancer or with one that is older than this lbctl: \
                    expected LoadModule lua_balancer_module";
        return vec![Remark::warning(&place, text.into())];
    };
    let Ok(read) = read::read(file, defines) else { return Vec::new() };
    let is_known = |pool: &Dumped| read.config.pools.iter().any(|own| own.name == pool.name);
    let missing = dump.pools.into_iter().filter(|pool| !is_known(pool));
    let finding = |pool: Dumped| {
        let text = format!(
            "pool {} is one that only httpd sees (mod_macro, or a condition that is not known here): \
             it is not looked at",
            pool.name
        );
        Remark::warning(&Position { file: pool.file, line: pool.line }, text)
    };
    missing.map(finding).collect()
}
