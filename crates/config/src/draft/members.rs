// SPDX-License-Identifier: Apache-2.0
//! The lines inside `<LuaBalancerPool>`.

use balance::member::MemberSpec;
use balance::settings::{Method, PoolSettings, SourcePlace};
use balance::stock::hcheck;

use super::state::{At, Draft};
use crate::lines;
use crate::parts::{Pool, PoolScript};
use crate::surroundings::{Surroundings, script_file, whole_socket};

/// Makes the pool's check of what its members say in mod_proxy_hcheck's words.
pub(super) fn settle_check(pool: &mut Pool) -> Result<(), String> {
    let urls = pool.members.iter().map(|member| &member.url);
    let said: Vec<_> = pool.member_checks.iter().cloned().zip(urls).collect();
    match hcheck::of_pool(&said, pool.settings.health.is_some()) {
        Ok(None) => Ok(()),
        Ok(check) => {
            pool.settings.health = check;
            Ok(())
        }
        Err((at, why)) => {
            let place = pool.member_places.get(at).map(|place| format!("{place}: ")).unwrap_or_default();
            Err(format!("{place}LuaBalancerMember: {why}"))
        }
    }
}

impl Draft {
    fn open(&mut self, at: &At<'_, '_>) -> Result<&mut Pool, String> {
        let name = at.directive.name();
        let index = self.open_pool.ok_or_else(|| format!("{name} belongs inside <LuaBalancerPool name>"))?;
        self.pools.get_mut(index).ok_or_else(|| "internal error: the pool is gone".to_owned())
    }

    pub(super) fn member(
        &mut self,
        url: &str,
        checks: &[String],
        keys: &[String],
        (at, world): (&At<'_, '_>, &dyn Surroundings),
    ) -> Result<(), String> {
        let url = whole_socket(world, url);
        let known = hcheck::Known {
            template: &|name| lines::template(&world.lines("ProxyHCTemplate"), name),
            expression: &|name| lines::expression(&world.lines("ProxyHCExpr"), name),
        };
        let checks = hcheck::Keys::read(checks, known).map_err(|error| error.to_string())?;
        let pool = self.open(at)?;
        let taken = |name: &str| pool.members.iter().any(|other| other.name == name);
        let spec = MemberSpec::parse_beside(&url, keys, taken).map_err(|error| error.to_string())?;
        if taken(&spec.name) {
            return Err(format!(
                "pool {} already has a member named {}: give one of them another name=",
                pool.name, spec.name
            ));
        }
        pool.members.push(spec);
        pool.member_places.push(at.place.clone());
        pool.member_checks.push(checks);
        Ok(())
    }

    pub(super) fn setting(
        &mut self,
        words: &[String],
        at: &At<'_, '_>,
        world: &dyn Surroundings,
    ) -> Result<(), String> {
        let name = at.directive.name();
        let pool = self.open(at)?;
        pool.settings.set_directive(name, words).map_err(|error| error.to_string())?;
        let settings = pool.settings.clone();
        if name == "LuaBalancerHealthCheck"
            && let Some(ca) = settings.health.as_ref().and_then(|check| check.ca.as_deref())
        {
            world.check_ca(ca)?;
        }
        if let Some((written, function)) = script_of(name, &settings) {
            let path = script_file(world, &written)?;
            let place = at.place.clone();
            self.open(at)?.scripts.push(PoolScript { written, path, function, place });
        }
        match settings.key {
            Some(key) => self.expression(key, world),
            None => Ok(()),
        }
    }

    fn expression(&mut self, key: String, world: &dyn Surroundings) -> Result<(), String> {
        if !self.expressions.contains(&key) {
            world
                .keep_expression(&key)
                .map_err(|error| format!("key=\"{key}\" is not an expression: {error}"))?;
            self.expressions.push(key);
        }
        Ok(())
    }
}

/// The script and function that a directive has just named.
fn script_of(directive: &str, settings: &PoolSettings) -> Option<(String, String)> {
    match (directive, &settings.method, &settings.health) {
        ("LuaBalancerMethod", Method::Lua { script, function }, _) => {
            Some((script.clone(), function.clone()))
        }
        ("LuaBalancerHealthCheck", _, Some(check)) => check.script.clone(),
        ("LuaBalancerDiscovery", ..) => match settings.discovery.last().map(|last| &last.source) {
            Some(SourcePlace::Lua(of)) => Some((of.script.clone(), of.function.clone())),
            _ => None,
        },
        _ => None,
    }
}
