// SPDX-License-Identifier: Apache-2.0
//! The texts of the directives about doors, read into a [`Statement`].

use std::net::SocketAddr;

use crate::doors::{Admin, Histograms, MemberSeries, Metrics};
use crate::parse::{each_key_once, one_of, path_or_none, words};
use crate::statement::Statement;

type Read = Result<Statement, String>;

/// Bytes of the longest path that the system binds a socket to.
pub(crate) const LONGEST_PATH: usize = 107;

pub(crate) fn socket(_: &str, args: &str) -> Read {
    const EXAMPLE: &str = "for example LuaBalancerSocket /run/apache2/balancer.sock group=www-admin";
    let all = words(args)?;
    let (path, keys) =
        path_or_none(&all, ["mode", "group"], ("there is no file that they could be about", EXAMPLE))?;
    let (mut mode, mut group) = (None, None);
    each_key_once(keys, EXAMPLE)?;
    for word in keys {
        match word.split_once('=') {
            Some(("mode", value)) => mode = Some(file_mode(value)?),
            Some(("group", value)) if !value.is_empty() => group = Some(value.to_owned()),
            _ => return Err(format!("unknown key in '{word}': expected mode= or group=NAME, {EXAMPLE}")),
        }
    }
    Ok(Statement::Socket { path, mode, group })
}

fn file_mode(value: &str) -> Result<u32, String> {
    let is_octal = (3..=4).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_digit());
    let mode = u32::from_str_radix(value, 8).ok().filter(|mode| is_octal && *mode <= 0o777);
    mode.ok_or_else(|| format!("mode={value} is not a file mode: expected an octal number, as 0660"))
}

pub(crate) fn metrics(_: &str, args: &str) -> Read {
    const EXAMPLE: &str = "for example LuaBalancerMetrics listen=127.0.0.1:9117";
    let all = words(args)?;
    let mut metrics = Metrics::default();
    match all.as_slice() {
        [] => return Err(format!("expected off, or listen= and other keys, {EXAMPLE}")),
        [word] if word.eq_ignore_ascii_case("off") => {
            metrics.counts = false;
            return Ok(Statement::Metrics(metrics));
        }
        _ => {}
    }
    each_key_once(&all, EXAMPLE)?;
    for word in &all {
        match word.split_once('=') {
            Some(("listen", value)) => metrics.listen = Some(address(value)?),
            Some(("members", value)) => metrics.members = choice("members", value, &MEMBERS)?,
            Some(("histograms", value)) => metrics.histograms = choice("histograms", value, &HISTOGRAMS)?,
            Some(("max_series", value)) => metrics.max_series = series(value)?,
            _ => {
                return Err(format!(
                    "unknown key in '{word}': expected off, or listen=, members=, histograms= or max_series=, {EXAMPLE}"
                ));
            }
        }
    }
    Ok(Statement::Metrics(metrics))
}

const MEMBERS: [(&str, MemberSeries); 3] =
    [("auto", MemberSeries::Auto), ("on", MemberSeries::On), ("off", MemberSeries::Off)];
const HISTOGRAMS: [(&str, Histograms); 3] =
    [("members", Histograms::Members), ("pools", Histograms::Pools), ("off", Histograms::Off)];

fn choice<T: Copy>(key: &str, value: &str, choices: &[(&str, T)]) -> Result<T, String> {
    one_of(value, choices).map_err(|error| format!("{key}=: {error}"))
}

/// An address and a port. Names are not looked up: what they stand for may change, and who may
/// reach the listener hangs on it.
fn address(value: &str) -> Result<SocketAddr, String> {
    let found = value.parse().ok().filter(|address: &SocketAddr| address.port() != 0);
    found.ok_or_else(|| {
        format!(
            "listen={value} is not an address with a port: expected one such as 127.0.0.1:9117 or [::1]:9117"
        )
    })
}

fn series(value: &str) -> Result<u32, String> {
    let most = value.parse().ok().filter(|most| *most >= 1);
    most.ok_or_else(|| format!("max_series={value} is not a number of series: expected 1 or more, as 50000"))
}

pub(crate) fn admin(_: &str, args: &str) -> Read {
    const EXAMPLE: &str = "for example LuaBalancerAdmin on";
    let all = words(args)?;
    let (on, keys) = all.split_first().ok_or_else(|| format!("expected on or off, {EXAMPLE}"))?;
    let mut admin = Admin { on: one_of(on, &[("on", true), ("off", false)])?, ..Admin::default() };
    if !admin.on && !keys.is_empty() {
        return Err("off takes no keys: nobody may change anything".into());
    }
    each_key_once(keys, EXAMPLE)?;
    for word in keys {
        match word.split_once('=') {
            Some(("anonymous", value)) => {
                admin.anonymous = choice("anonymous", value, &[("on", true), ("off", false)])?;
            }
            Some(("origin", value)) => admin.origin = Some(origin(value)?),
            _ => {
                return Err(format!(
                    "unknown key in '{word}': expected anonymous=on or origin=https://HOST, {EXAMPLE}"
                ));
            }
        }
    }
    Ok(Statement::Admin(admin))
}

/// A scheme, a host and perhaps a port, as browsers name where a page comes from: in lower case,
/// without a slash at the end.
fn origin(value: &str) -> Result<String, String> {
    let lower = value.to_ascii_lowercase();
    let host = lower.strip_prefix("https://").or_else(|| lower.strip_prefix("http://"));
    let is_host = |host: &&str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte);
        !host.is_empty() && !host.starts_with(':') && host.bytes().all(allowed)
    };
    if host.filter(is_host).is_none() {
        return Err(format!(
            "origin={value} is not the origin of a page: expected a scheme and a host alone, as https://admin.example.org"
        ));
    }
    Ok(lower)
}
