// SPDX-License-Identifier: Apache-2.0
//! The tables in which tests describe configurations and requests.

use std::fs;
use std::path::{Path, PathBuf};

use balance::units;
use config::{Dict, Position};
use mlua::{Table, Value};
use script::offline::define_pool;
use script::{Phase, host};

use super::copies::Copies;
use crate::conf::read;
use crate::files;
use crate::moment;
use crate::world::ask::Ask;
use crate::world::setup::Setup;

const KEYS: &str = "config, script, function, finish, hook, pools, dicts, places, replace, package_path, \
                    sandbox, seed or time";

/// `t.config(what)`: the name of a configuration file, or a table.
pub fn setup(what: &Value, folder: &Path, copies: &Copies) -> Result<Setup, String> {
    match what {
        Value::String(name) => Ok(Setup::of(read::read(&folder.join(name.to_string_lossy()), &[])?)),
        Value::Table(table) => of_table(table, folder, copies),
        other => Err(format!(
            "t.config: expected the name of a configuration file or a table, found a {}",
            other.type_name()
        )),
    }
}

fn text(table: &Table, key: &str) -> Result<Option<String>, String> {
    match table.raw_get::<Value>(key).map_err(|error| error.to_string())? {
        Value::Nil => Ok(None),
        Value::String(text) => Ok(Some(text.to_string_lossy())),
        Value::Integer(number) => Ok(Some(number.to_string())),
        Value::Number(number) => Ok(Some(number.to_string())),
        other => Err(format!("{key}: expected a text, found a {}", other.type_name())),
    }
}

fn table_of(table: &Table, key: &str) -> Result<Option<Table>, String> {
    match table.raw_get::<Value>(key).map_err(|error| error.to_string())? {
        Value::Nil => Ok(None),
        Value::Table(inner) => Ok(Some(inner)),
        other => Err(format!("{key}: expected a table, found a {}", other.type_name())),
    }
}

fn inner(table: &Table, key: &str) -> Result<Vec<(String, Value)>, String> {
    table_of(table, key)?.map_or_else(|| Ok(Vec::new()), |inner| pairs(&inner))
}

/// Named entries of a table, in order of the alphabet.
pub fn pairs(table: &Table) -> Result<Vec<(String, Value)>, String> {
    let mut all = Vec::new();
    for pair in table.pairs::<Value, Value>() {
        match pair.map_err(|error| error.to_string())? {
            (Value::String(name), value) => all.push((name.to_string_lossy(), value)),
            (other, _) => return Err(format!("expected a name as key, found a {}", other.type_name())),
        }
    }
    all.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(all)
}

fn of_table(table: &Table, folder: &Path, copies: &Copies) -> Result<Setup, String> {
    for (key, _) in pairs(table)? {
        if !KEYS.split([',', ' ']).any(|known| known == key) {
            return Err(format!("t.config: unknown key '{key}', expected {KEYS}"));
        }
    }
    let mut setup = match text(table, "config")? {
        Some(name) => Setup::of(read::read(&folder.join(name), &[])?),
        None => Setup::empty()?,
    };
    for (name, value) in inner(table, "pools")? {
        let Value::Table(members) = value else { return Err(format!("pools, {name}: expected a table")) };
        let pool = define_pool(&name, &members)?;
        setup.add_pool(&pool.name, pool.settings, pool.members);
    }
    if let Some(script) = text(table, "script")? {
        script_of(&mut setup, table, &folder.join(script), copies)?;
    }
    for (name, value) in inner(table, "dicts")? {
        let size = value.as_string().map(|size| size.to_string_lossy()).unwrap_or_default();
        let size = units::size(&size).map_err(|error| format!("dicts, {name}: {error}"))?;
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        setup.config.dicts.push(Dict { name, size, place: Position::default() });
    }
    for (address, value) in inner(table, "places")? {
        let Value::Table(place) = value else { return Err(format!("places, {address}: expected a table")) };
        setup.places.push((address, place_of(&place)?));
    }
    if let Ok(Value::Boolean(on)) = table.raw_get("sandbox") {
        setup.config.sandbox = on;
    }
    if let Some(seed) = text(table, "seed")? {
        setup.seed = seed.parse().map_err(|_| format!("seed: expected a number, found '{seed}'"))?;
    }
    if let Some(time) = text(table, "time")? {
        setup.epoch = moment::of(&time)?;
    }
    Ok(setup)
}

fn script_of(setup: &mut Setup, table: &Table, path: &Path, copies: &Copies) -> Result<(), String> {
    let path = fs::canonicalize(path).map_err(|error| format!("script {}: {error}", path.display()))?;
    let (path, mut folders) = match table_of(table, "replace")? {
        Some(changes) => replaced(&path, &changes, copies)?,
        None => (path, Vec::new()),
    };
    if let Some(own) = text(table, "package_path")? {
        folders.extend(own.split(';').map(str::to_owned));
    }
    let (function, finish) = (text(table, "function")?, text(table, "finish")?);
    setup.ask_script(&path, function.as_deref(), finish.as_deref());
    setup.look_for_modules_in(&folders);
    match text(table, "hook")?.as_deref() {
        None => {}
        Some("translate") => setup.ask_in(Phase::Translate),
        Some("select") => setup.ask_in(Phase::Select),
        Some(other) => return Err(format!("hook: expected translate or select, found '{other}'")),
    }
    Ok(())
}

/// A copy of a script in which texts are replaced by others.
fn replaced(path: &Path, changes: &Table, copies: &Copies) -> Result<(PathBuf, Vec<String>), String> {
    let shown = path.display();
    let mut script = files::text(path)?;
    for (old, new) in pairs(changes)? {
        let new = new.as_string().map(|new| new.to_string_lossy());
        let new = new.ok_or_else(|| format!("replace: expected a text for '{old}'"))?;
        if !script.contains(&old) {
            return Err(format!("replace: '{old}' is not in {shown}"));
        }
        script = script.replace(&old, &new);
    }
    let copy = copies.write(path, &script).map_err(|error| format!("{shown}: {error}"))?;
    let folder = path.parent().unwrap_or(Path::new("/")).display().to_string();
    Ok((copy, vec![format!("{folder}/?.lua")]))
}

/// The location that `lb.geo` gives for an address.
pub fn place_of(table: &Table) -> Result<host::Location, String> {
    let mut place = host::Location::default();
    for (key, value) in pairs(table)? {
        let text = value.to_string().unwrap_or_default();
        let number = value.as_f64();
        match key.as_str() {
            "country" => place.country = Some(text),
            "country_name" => place.country_name = Some(text),
            "continent" => place.continent = Some(text),
            "city" => place.city = Some(text),
            "time_zone" => place.time_zone = Some(text),
            "org" => place.org = Some(text),
            "latitude" => place.latitude = number,
            "longitude" => place.longitude = number,
            "asn" => place.asn = number.map(|number| number as u32),
            other => return Err(format!("unknown key '{other}' of a place, expected country, city or asn")),
        }
    }
    Ok(place)
}

/// A request: its path or URL, and options.
pub fn ask(path: &str, options: Option<&Table>) -> Result<Ask, String> {
    let mut ask = Ask::of(path)?;
    let Some(options) = options else { return Ok(ask) };
    for (key, value) in pairs(options)? {
        match (key.as_str(), &value) {
            ("headers", Value::Table(headers)) => {
                for (name, value) in pairs(headers)? {
                    ask.headers.push((name, value.to_string().unwrap_or_default()));
                }
            }
            ("cookies", Value::Table(cookies)) => {
                let each = pairs(cookies)?.into_iter();
                let each =
                    each.map(|(name, value)| format!("{name}={}", value.to_string().unwrap_or_default()));
                ask.headers.push(("Cookie".into(), each.collect::<Vec<_>>().join("; ")));
            }
            ("method" | "client" | "user" | "host", Value::String(text)) => {
                let text = text.to_string_lossy();
                match key.as_str() {
                    "method" => ask.method = text,
                    "client" => ask.client = Some(text),
                    "user" => ask.user = Some(text),
                    _ => ask.host = Some(text),
                }
            }
            ("https", Value::Boolean(on)) => ask.https = *on,
            (other, _) => {
                return Err(format!(
                    "a request has no option {other} = {}: expected method, headers, cookies, client, user, host \
                     or https",
                    value.type_name()
                ));
            }
        }
    }
    Ok(ask)
}
