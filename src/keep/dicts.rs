//! The dictionaries of a configuration: each `LuaBalancerDict`, and the one behind `r:ivm_set`. Each is a mapping of its
//! own, which the parent keeps over restarts.

use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;

use script::host::{self, DictError, Scalar, SharedValues};
use table::dict::{self, Dict, Value, World};

use crate::app::config::DictConfig;
use crate::httpd::log;
use crate::httpd::memory;
use crate::httpd::mpm;

/// Dictionaries that a configuration may have.
pub const MOST: usize = 256;

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
    /// Empty ones in this process's own memory, for scripts that are started while there is no server.
    pub fn for_test(wanted: &[DictConfig]) -> Result<Self, String> {
        let open = |_: &str, size: usize| {
            Dict::on_heap(size.min(TEST_SIZE), seed(), world()).map_err(|error| error.to_string())
        };
        Self::open(wanted, open)
    }

    /// Those that the children share: kept ones where name and size are the same. For the parent.
    pub fn shared(wanted: &[DictConfig]) -> Result<Self, String> {
        let kept = retained().ok_or("httpd keeps no retained data")?;
        kept.drop_all_but(|name| name == VALUES || wanted.iter().any(|dict| dict.name == name));
        Self::open(wanted, |name, size| kept.open(name, size))
    }

    fn open(
        wanted: &[DictConfig],
        mut open: impl FnMut(&str, usize) -> Result<Dict, String>,
    ) -> Result<Self, String> {
        let mut named = Vec::new();
        for DictConfig { name, size, place } in wanted {
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

    /// All that have a name: bytes in all, and bytes free.
    pub fn rooms(&self) -> impl Iterator<Item = (&str, (usize, usize))> {
        self.named.iter().map(|(name, dict)| (name.as_str(), dict.room()))
    }

    /// What `r:ivm_set` writes into.
    pub fn values(&self) -> Rc<dyn SharedValues> {
        Rc::new(Values(self.values.clone()))
    }
}

fn world() -> World {
    World { me: memory::this_process(), condition: memory::condition, now_us: memory::monotonic_us }
}

/// Random, so that no client can choose keys that collide.
fn seed() -> u64 {
    RandomState::new().hash_one(memory::monotonic_us())
}

/// A mapping that the parent keeps.
#[repr(C)]
struct Kept {
    /// Zero padded.
    name: [u8; 64],
    /// NULL for none.
    base: *mut u8,
    size: usize,
}

/// What the parent remembers over restarts and over reloads of the module.
#[repr(C)]
struct Retained {
    kept: [Kept; MOST + 1],
}

const RETAINED: &str = "mod_lua_balancer dictionaries";

fn retained() -> Option<&'static mut Retained> {
    // SAFETY: httpd's retained block of this size, zeroed when new, used by the parent's one thread.
    #[allow(unsafe_code)]
    unsafe {
        mpm::retained(RETAINED, size_of::<Retained>()).cast::<Retained>().as_mut()
    }
}

impl Kept {
    fn is(&self, name: &str) -> bool {
        !self.base.is_null() && self.name.split(|byte| *byte == 0).next() == Some(name.as_bytes())
    }

    fn name(&self) -> String {
        let name = self.name.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(name).into_owned()
    }

    fn attach(&self) -> Result<Dict, String> {
        // SAFETY: a retained base is a mapping of that size that this process made and never gave back.
        #[allow(unsafe_code)]
        unsafe {
            Dict::attach(self.base, self.size, world()).map_err(|error| error.to_string())
        }
    }

    fn give_back(&mut self) {
        if !self.base.is_null() {
            // SAFETY: mapped for an earlier configuration, whose users in the parent are gone; children keep their own
            // mappings.
            #[allow(unsafe_code)]
            unsafe {
                memory::unmap(self.base, self.size);
            }
        }
        *self = Kept { name: [0; 64], base: std::ptr::null_mut(), size: 0 };
    }
}

impl Retained {
    /// The dictionary of this name and size: the kept one, or a new one with what the kept one of another size held.
    fn open(&mut self, name: &str, size: usize) -> Result<Dict, String> {
        let Some(kept) = self.kept.iter_mut().find(|kept| kept.is(name)) else {
            let free = self.kept.iter_mut().find(|kept| kept.base.is_null());
            let free = free.ok_or("there are too many dictionaries")?;
            let (dict, kept) = new(name, size)?;
            *free = kept;
            return Ok(dict);
        };
        match kept.attach() {
            Ok(dict) if kept.size == size => Ok(dict),
            old => {
                let (dict, new) = new(name, size)?;
                log::server(log::NOTICE, &carry(name, &dict, old));
                kept.give_back();
                *kept = new;
                Ok(dict)
            }
        }
    }

    fn drop_all_but(&mut self, wanted: impl Fn(&str) -> bool) {
        self.kept
            .iter_mut()
            .filter(|kept| !kept.base.is_null() && !wanted(&kept.name()))
            .for_each(Kept::give_back);
    }
}

fn new(name: &str, size: usize) -> Result<(Dict, Kept), String> {
    let base =
        memory::map_shared(size).map_err(|error| format!("no shared memory of {size} bytes: {error}"))?;
    // SAFETY: a fresh mapping of this size, which is given back by `Kept::give_back` only.
    #[allow(unsafe_code)]
    let dict = unsafe { Dict::create(base, size, seed(), world()) }.map_err(|error| error.to_string())?;
    let mut kept = Kept { name: [0; 64], base, size };
    // Names have 63 bytes at most.
    kept.name.iter_mut().zip(name.bytes()).for_each(|(place, byte)| *place = byte);
    Ok((dict, kept))
}

/// Fills a dictionary with what another one held. What to tell the administrator.
fn carry(name: &str, dict: &Dict, old: Result<Dict, String>) -> String {
    let carried = old.and_then(|old| {
        let sizes = (old.size(), dict.size());
        dict.carry_over(&old).map(|counts| (sizes, counts)).map_err(|error| error.to_string())
    });
    match carried {
        Ok(((before, now), (entries, kept))) => {
            format!(
                "dictionary {name} has {now} bytes now, {before} before: {kept} of {entries} entries kept"
            )
        }
        Err(error) => format!("dictionary {name} begins anew, not all it held could be kept: {error}"),
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

impl host::Dict for ForScripts {
    fn get(&self, key: &[u8]) -> Result<Option<Scalar>, DictError> {
        self.0.get(key).map(|value| value.map(to_scalar)).map_err(refused)
    }

    fn get_stale(&self, key: &[u8]) -> Result<Option<(Scalar, bool)>, DictError> {
        let found = self.0.get_stale(key).map_err(refused)?;
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
            return self.0.store_safely(how, key, &value, ttl).map(|()| false).map_err(refused);
        }
        self.0.store(how, key, &value, ttl).map_err(refused)
    }

    fn incr(
        &self,
        key: &[u8],
        by: Scalar,
        init: Option<Scalar>,
        init_ttl: f64,
    ) -> Result<(Scalar, bool), DictError> {
        let sum = self.0.incr_exactly(key, &from_scalar(by), init.map(from_scalar).as_ref(), init_ttl);
        sum.map(|(value, evicted)| (to_scalar(value), evicted)).map_err(refused)
    }

    fn delete(&self, key: &[u8]) -> Result<(), DictError> {
        self.0.delete(key).map_err(refused)
    }

    fn ttl(&self, key: &[u8]) -> Result<f64, DictError> {
        self.0.ttl(key).map_err(refused)
    }

    fn expire(&self, key: &[u8], ttl: f64) -> Result<(), DictError> {
        self.0.expire(key, ttl).map_err(refused)
    }

    fn keys(&self, max: usize) -> Result<Vec<Vec<u8>>, DictError> {
        self.0.keys(max).map_err(refused)
    }

    fn clear(&self) -> Result<(), DictError> {
        self.0.clear().map_err(refused)
    }

    fn purge(&self, max: usize) -> Result<usize, DictError> {
        self.0.purge(max).map_err(refused)
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
