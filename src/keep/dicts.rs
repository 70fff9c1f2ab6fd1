// SPDX-License-Identifier: Apache-2.0
//! The dictionaries of a configuration: each `LuaBalancerDict`, and the one behind `r:ivm_set`.
//! Each is a mapping of its own, which the parent keeps over restarts.

use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;

use balance::snapshot::DictState;
use balance::trouble::Trouble;
use config::MOST_DICTS;
use messages::Message;
use script::host::{self, DictError, Scalar, SharedValues};
use table::dict::{self, Dict, Processes, Value};

use super::mappings::{Mapping, Mappings};
use crate::httpd::log;
use crate::httpd::memory;
use crate::httpd::retained::Block;

// The directive's bounds are those of the dictionaries themselves.
const _: () = assert!(config::MIN_DICT == dict::MIN_SIZE && config::MAX_DICT == dict::MAX_SIZE);

/// Name of the one behind `r:ivm_set`: none that a directive could give.
const VALUES: &str = "r:ivm_set";
const VALUES_SIZE: usize = 8 << 20;
/// Largest one in a process's own memory, where a configuration is only tested.
const TEST_SIZE: usize = 4 << 20;

/// All dictionaries of a configuration.
pub struct Dicts {
    named: Vec<(String, Dict)>,
    values: Dict,
}

impl Dicts {
    /// Empty ones in this process's own memory, for scripts that are started while there is no
    /// server.
    pub fn for_test(wanted: &[config::Dict]) -> Result<Self, String> {
        let open = |_: &str, size: usize| {
            Dict::on_heap(size.min(TEST_SIZE), seed(), world()).map_err(|error| error.to_string())
        };
        Self::open(wanted, open)
    }

    /// The dictionaries that the children share: kept ones where name and size are the same. For
    /// the parent.
    pub fn shared(wanted: &[config::Dict]) -> Result<Self, String> {
        let open_all = |kept: &mut Mappings<_>| {
            let is_wanted = |name: &str| name == VALUES || wanted.iter().any(|dict| dict.name == name);
            // SAFETY: mapped for an earlier configuration, whose users in the parent are gone.
            #[allow(unsafe_code)]
            unsafe {
                kept.retain(is_wanted);
            }
            Self::open(wanted, |name, size| open(kept, name, size))
        };
        RETAINED.with(open_all).ok_or("httpd keeps no retained data")?
    }

    fn open(
        wanted: &[config::Dict],
        mut open: impl FnMut(&str, usize) -> Result<Dict, String>,
    ) -> Result<Self, String> {
        let mut named = Vec::new();
        for config::Dict { name, size, place } in wanted {
            let dict = open(name, *size).map_err(|error| format!("{place}: dictionary {name}: {error}"))?;
            named.push((name.clone(), dict));
        }
        let values = open(VALUES, VALUES_SIZE).map_err(|error| format!("{VALUES}: {error}"))?;
        Ok(Dicts { named, values: values.never_evicting() })
    }

    /// The same ones, used by this process.
    pub fn in_child(&self) -> Self {
        let me = memory::this_process();
        let own = |dict: &Dict| dict.clone().with_identity(me);
        Dicts {
            named: self.named.iter().map(|(name, dict)| (name.clone(), own(dict))).collect(),
            values: own(&self.values),
        }
    }

    /// A dictionary for scripts.
    pub fn find(&self, name: &str) -> Option<Rc<dyn host::Dict>> {
        let (_, dict) = self.named.iter().find(|(known, _)| known == name)?;
        Some(Rc::new(ForScripts(dict.clone())))
    }

    /// All that have a name, as they are shown.
    pub fn states(&self) -> Vec<DictState> {
        let state = |(name, dict): &(String, Dict)| {
            let (size, free) = dict.room();
            let last_error = dict.last_refusal().map(|(error, at_s)| trouble(dict, error, at_s));
            DictState { name: name.clone(), size, free, evictions: dict.evictions(), last_error }
        };
        self.named.iter().map(state).collect()
    }

    /// The values that `r:ivm_set` writes.
    pub fn values(&self) -> Rc<dyn SharedValues> {
        Rc::new(Values(self.values.clone()))
    }
}

fn trouble(dict: &Dict, error: dict::DictError, at_s: u64) -> Trouble {
    let text = match error {
        dict::DictError::NoMemory => {
            let largest = dict.largest();
            format!("no memory: a value was refused (the largest has {largest} bytes with its key)")
        }
        error => error.to_string(),
    };
    Trouble::new(at_s, &text)
}

fn world() -> Processes {
    Processes { me: memory::this_process(), condition: memory::condition, now_us: memory::monotonic_us }
}

/// Random, so that no client can choose keys that collide.
fn seed() -> u64 {
    RandomState::new().hash_one(memory::monotonic_us())
}

/// The parent's memory over restarts and over reloads of the module.
static RETAINED: Block<Mappings<{ MOST_DICTS + 1 }>> = Block::new("mod_lua_balancer dictionaries", 1);

fn attach(kept: Mapping) -> Result<Dict, String> {
    // SAFETY: a retained mapping is one of that size that this process made and never gave back.
    #[allow(unsafe_code)]
    unsafe {
        Dict::attach(kept.base, kept.length, world()).map_err(|error| error.to_string())
    }
}

/// The dictionary of this name and size: the kept one, or a new one with what the kept one of
/// another size held.
fn open<const N: usize>(kept: &mut Mappings<N>, name: &str, size: usize) -> Result<Dict, String> {
    let old = kept.find(name).map(|mapping| (mapping.length, attach(mapping)));
    if let Some((length, Ok(dict))) = &old
        && *length == size
    {
        return Ok(dict.clone());
    }
    let (dict, mapping) = new(size)?;
    if let Some((_, old)) = old {
        let (message, text) = carry(name, &dict, old);
        log::server(message, &text);
    }
    // SAFETY: a fresh mapping, which its list alone gives back. The one before was an earlier
    // configuration's, whose users in the parent are gone; `carry` has dropped its own handle.
    #[allow(unsafe_code)]
    unsafe { kept.put(name, mapping) }?;
    Ok(dict)
}

fn new(size: usize) -> Result<(Dict, Mapping), String> {
    let mapping = Mapping::new(size)?;
    // SAFETY: a fresh mapping of this size.
    #[allow(unsafe_code)]
    let dict = unsafe { Dict::create(mapping.base, size, seed(), world()) };
    Ok((dict.map_err(|error| error.to_string())?, mapping))
}

/// Fills a dictionary with the entries of another one. Returns words for the administrator.
fn carry(name: &str, dict: &Dict, old: Result<Dict, String>) -> (&'static Message, String) {
    let carried = old.and_then(|old| {
        let sizes = (old.size(), dict.size());
        dict.carry_over(&old).map(|counts| (sizes, counts)).map_err(|error| error.to_string())
    });
    match carried {
        Ok(((before, now), (entries, kept))) => {
            let text = format!(
                "dictionary {name} has {now} bytes now, {before} before: {kept} of {entries} entries kept"
            );
            (messages::starting::DICT_CARRIED, text)
        }
        Err(error) => {
            let text = format!("dictionary {name} begins anew, not all it held could be kept: {error}");
            (messages::starting::DICT_ANEW, text)
        }
    }
}

/// A dictionary as the script runtime sees it.
struct ForScripts(Dict);

fn refused(error: dict::DictError) -> DictError {
    match error {
        dict::DictError::Exists => DictError::Exists,
        dict::DictError::NotFound => DictError::NotFound,
        dict::DictError::NotANumber => DictError::NotANumber,
        dict::DictError::NoMemory => DictError::NoMemory,
        _ => DictError::Busy,
    }
}

fn to_scalar(value: Value) -> Scalar {
    match value {
        Value::Bool(flag) => Scalar::Bool(flag),
        Value::Integer(number) => Scalar::Integer(number),
        Value::Number(number) => Scalar::Number(number),
        Value::Text(text) => Scalar::Text(text),
    }
}

fn from_scalar(value: Scalar) -> Value {
    match value {
        Scalar::Bool(flag) => Value::Bool(flag),
        Scalar::Integer(number) => Value::Integer(number),
        Scalar::Number(number) => Value::Number(number),
        Scalar::Text(text) => Value::Text(text),
    }
}

impl ForScripts {
    /// The error as scripts see it. A want of room and a process that does not go on are noted.
    #[cold]
    fn refused(&self, error: dict::DictError) -> DictError {
        self.0.note_refusal(error, memory::epoch_s());
        refused(error)
    }
}

impl host::Dict for ForScripts {
    fn get(&self, key: &[u8]) -> Result<Option<Scalar>, DictError> {
        self.0.get(key).map(|value| value.map(to_scalar)).map_err(|error| self.refused(error))
    }

    fn get_stale(&self, key: &[u8]) -> Result<Option<(Scalar, bool)>, DictError> {
        let found = self.0.get_stale(key).map_err(|error| self.refused(error))?;
        Ok(found.map(|(value, is_over)| (to_scalar(value), is_over)))
    }

    fn store(&self, how: host::Store, key: &[u8], value: Scalar, ttl: f64) -> Result<bool, DictError> {
        let value = from_scalar(value);
        let (how, safely) = match how {
            host::Store::Set => (dict::Store::Set, false),
            host::Store::Add => (dict::Store::Add, false),
            host::Store::Replace => (dict::Store::Replace, false),
            host::Store::SafeSet => (dict::Store::Set, true),
            host::Store::SafeAdd => (dict::Store::Add, true),
        };
        if safely {
            return self
                .0
                .store_safely(how, key, &value, ttl)
                .map(|()| false)
                .map_err(|error| self.refused(error));
        }
        self.0.store(how, key, &value, ttl).map_err(|error| self.refused(error))
    }

    fn incr(
        &self,
        key: &[u8],
        by: Scalar,
        init: Option<Scalar>,
        init_ttl: f64,
    ) -> Result<(Scalar, bool), DictError> {
        let sum = self.0.incr_exactly(key, &from_scalar(by), init.map(from_scalar).as_ref(), init_ttl);
        sum.map(|(value, evicted)| (to_scalar(value), evicted)).map_err(|error| self.refused(error))
    }

    fn delete(&self, key: &[u8]) -> Result<(), DictError> {
        self.0.delete(key).map_err(|error| self.refused(error))
    }

    fn ttl(&self, key: &[u8]) -> Result<f64, DictError> {
        self.0.ttl(key).map_err(|error| self.refused(error))
    }

    fn expire(&self, key: &[u8], ttl: f64) -> Result<(), DictError> {
        self.0.expire(key, ttl).map_err(|error| self.refused(error))
    }

    fn keys(&self, max: usize) -> Result<Vec<Vec<u8>>, DictError> {
        self.0.keys(max).map_err(|error| self.refused(error))
    }

    fn clear(&self) -> Result<(), DictError> {
        self.0.clear().map_err(|error| self.refused(error))
    }

    fn purge(&self, max: usize) -> Result<usize, DictError> {
        self.0.purge(max).map_err(|error| self.refused(error))
    }

    fn room(&self) -> (usize, usize) {
        self.0.room()
    }
}

/// `r:ivm_set`. mod_lua's forgets nothing, so neither does this: what does not fit is refused.
struct Values(Dict);

impl SharedValues for Values {
    fn get(&self, key: &[u8], f: &mut dyn FnMut(Option<&[u8]>)) {
        match self.0.get(key) {
            Ok(Some(Value::Text(bytes))) => f(Some(&bytes)),
            _ => f(None),
        }
    }

    fn set(&self, key: &[u8], value: Option<&[u8]>) -> Result<(), String> {
        let done = match value {
            Some(bytes) => self.0.store(dict::Store::Set, key, &Value::Text(bytes.to_vec()), 0.0).map(|_| ()),
            None => self.0.delete(key),
        };
        done.map_err(|error| match error {
            dict::DictError::NoMemory => format!(
                "ivm_set: no room for {} bytes: all values together have {} MiB, a key and its value at most {} KiB; \
                 remove some with r:ivm_set(key, nil), or use a dictionary (LuaBalancerDict), which forgets old ones",
                key.len() + value.map_or(0, <[u8]>::len),
                VALUES_SIZE >> 20,
                self.0.largest() >> 10,
            ),
            error => format!("ivm_set: {error}"),
        })
    }
}
