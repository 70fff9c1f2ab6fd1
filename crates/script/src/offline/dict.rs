// SPDX-License-Identifier: Apache-2.0
//! Dictionaries in memory, and the values of `r:ivm_set`.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use super::Clock;
use crate::host::{Dict, DictError, Scalar, SharedValues, Store};

/// The bytes that an entry takes beside its key and value.
const ENTRY: usize = 128;

/// A bounded dictionary. The least recently used entries go when it is full.
pub struct PlainDict {
    clock: Rc<Clock>,
    size: usize,
    entries: RefCell<BTreeMap<Vec<u8>, Entry>>,
    /// Counts uses.
    uses: Cell<u64>,
}

#[derive(Clone)]
struct Entry {
    value: Scalar,
    /// When its time is over; None: never.
    ends: Option<f64>,
    used: u64,
}

/// The sum of two numbers; whole ones stay whole as long as they fit.
fn sum(before: &Scalar, by: &Scalar) -> Option<Scalar> {
    match (before, by) {
        (Scalar::Integer(before), Scalar::Integer(by)) => {
            let sum = before.checked_add(*by);
            Some(sum.map_or_else(|| Scalar::Number(*before as f64 + *by as f64), Scalar::Integer))
        }
        (before, by) => Some(Scalar::Number(float(before)? + float(by)?)),
    }
}

/// Whether a storing call may go on where its key is there, or is not.
pub(super) fn may_store(how: Store, is_there: bool) -> Result<(), DictError> {
    match how {
        Store::Add | Store::SafeAdd if is_there => Err(DictError::Exists),
        Store::Replace if !is_there => Err(DictError::NotFound),
        _ => Ok(()),
    }
}

/// The sum that `incr` stores, with the time that goes with it: the entry's, or that of `init`.
pub(super) fn incremented<T>(
    before: Option<(Scalar, T)>,
    by: &Scalar,
    init: impl FnOnce() -> Option<(Scalar, T)>,
) -> Result<(Scalar, T), DictError> {
    let (before, time) = before.or_else(init).ok_or(DictError::NotFound)?;
    Ok((sum(&before, by).ok_or(DictError::NotANumber)?, time))
}

/// A limit that a script gave; 0 stands for the largest.
pub(super) fn most(max: usize) -> usize {
    if max == 0 { usize::MAX } else { max }
}

fn float(number: &Scalar) -> Option<f64> {
    match number {
        Scalar::Integer(number) => Some(*number as f64),
        Scalar::Number(number) => Some(*number),
        _ => None,
    }
}

fn bytes_of(key: &[u8], value: &Scalar) -> usize {
    key.len() + ENTRY + if let Scalar::Text(text) = value { text.len() } else { 0 }
}

impl PlainDict {
    /// An empty one of so many bytes, whose entries live by this clock.
    pub fn new(clock: Rc<Clock>, size: usize) -> Self {
        PlainDict { clock, size, entries: RefCell::default(), uses: Cell::new(0) }
    }

    fn is_over(&self, entry: &Entry) -> bool {
        entry.ends.is_some_and(|ends| ends <= self.clock.now())
    }

    fn ends(&self, ttl: f64) -> Option<f64> {
        (ttl > 0.0).then(|| self.clock.now() + ttl)
    }

    fn used_now(&self) -> u64 {
        self.uses.set(self.uses.get() + 1);
        self.uses.get()
    }

    /// The entry of a key whose time is not over, marked as used.
    fn live(&self, key: &[u8]) -> Option<Entry> {
        let mut entries = self.entries.borrow_mut();
        let entry = entries.get_mut(key).filter(|entry| !self.is_over(entry))?;
        entry.used = self.used_now();
        Some(entry.clone())
    }

    fn filled(&self) -> usize {
        self.entries.borrow().iter().map(|(key, entry)| bytes_of(key, &entry.value)).sum()
    }

    /// Puts an entry; Ok(true): others went for it, which they do only where they may.
    fn put(&self, key: &[u8], value: Scalar, ends: Option<f64>, may_evict: bool) -> Result<bool, DictError> {
        let wanted = bytes_of(key, &value);
        if wanted > self.size {
            return Err(DictError::NoMemory);
        }
        let before = self.entries.borrow_mut().remove(key);
        self.purge(0)?;
        let mut evicted = false;
        while self.filled() + wanted > self.size {
            if !may_evict {
                if let Some(before) = before {
                    self.entries.borrow_mut().insert(key.to_vec(), before);
                }
                return Err(DictError::NoMemory);
            }
            let mut entries = self.entries.borrow_mut();
            let oldest = entries.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| key.clone());
            entries.remove(&oldest.ok_or(DictError::NoMemory)?);
            evicted = true;
        }
        let used = self.used_now();
        self.entries.borrow_mut().insert(key.to_vec(), Entry { value, ends, used });
        Ok(evicted)
    }
}

impl Dict for PlainDict {
    fn get(&self, key: &[u8]) -> Result<Option<Scalar>, DictError> {
        Ok(self.live(key).map(|entry| entry.value))
    }

    fn store(&self, how: Store, key: &[u8], value: Scalar, ttl: f64) -> Result<bool, DictError> {
        may_store(how, self.live(key).is_some())?;
        let may_evict = !matches!(how, Store::SafeSet | Store::SafeAdd);
        self.put(key, value, self.ends(ttl), may_evict)
    }

    fn incr(
        &self,
        key: &[u8],
        by: Scalar,
        init: Option<Scalar>,
        init_ttl: f64,
    ) -> Result<(Scalar, bool), DictError> {
        let before = self.live(key).map(|entry| (entry.value, entry.ends));
        let (sum, ends) = incremented(before, &by, || Some((init?, self.ends(init_ttl))))?;
        let evicted = self.put(key, sum.clone(), ends, true)?;
        Ok((sum, evicted))
    }

    fn get_stale(&self, key: &[u8]) -> Result<Option<(Scalar, bool)>, DictError> {
        let entries = self.entries.borrow();
        Ok(entries.get(key).map(|entry| (entry.value.clone(), self.is_over(entry))))
    }

    fn delete(&self, key: &[u8]) -> Result<(), DictError> {
        self.entries.borrow_mut().remove(key);
        Ok(())
    }

    fn ttl(&self, key: &[u8]) -> Result<f64, DictError> {
        let entries = self.entries.borrow();
        let entry = entries.get(key).filter(|entry| !self.is_over(entry)).ok_or(DictError::NotFound)?;
        Ok(entry.ends.map_or(0.0, |ends| ends - self.clock.now()))
    }

    fn expire(&self, key: &[u8], ttl: f64) -> Result<(), DictError> {
        let ends = self.ends(ttl);
        let mut entries = self.entries.borrow_mut();
        let entry = entries.get_mut(key).filter(|entry| !self.is_over(entry)).ok_or(DictError::NotFound)?;
        entry.ends = ends;
        Ok(())
    }

    fn keys(&self, max: usize) -> Result<Vec<Vec<u8>>, DictError> {
        let entries = self.entries.borrow();
        let live = entries.iter().filter(|(_, entry)| !self.is_over(entry));
        Ok(live.map(|(key, _)| key.clone()).take(most(max)).collect())
    }

    fn clear(&self) -> Result<(), DictError> {
        self.entries.borrow_mut().clear();
        Ok(())
    }

    fn purge(&self, max: usize) -> Result<usize, DictError> {
        let mut entries = self.entries.borrow_mut();
        let over: Vec<_> =
            entries.iter().filter(|(_, entry)| self.is_over(entry)).map(|(key, _)| key.clone()).collect();
        let gone = over.len().min(most(max));
        for key in over.into_iter().take(gone) {
            entries.remove(&key);
        }
        Ok(gone)
    }

    fn room(&self) -> (usize, usize) {
        (self.size, self.size.saturating_sub(self.filled()))
    }
}

/// Values of `r:ivm_set`, of one process.
#[derive(Default)]
pub struct PlainValues(RefCell<BTreeMap<Vec<u8>, Vec<u8>>>);

impl SharedValues for PlainValues {
    fn get(&self, key: &[u8], f: &mut dyn FnMut(Option<&[u8]>)) {
        let value = self.0.borrow().get(key).cloned();
        f(value.as_deref());
    }

    fn set(&self, key: &[u8], value: Option<&[u8]>) -> Result<(), String> {
        match value {
            Some(value) => drop(self.0.borrow_mut().insert(key.to_vec(), value.to_vec())),
            None => drop(self.0.borrow_mut().remove(key)),
        }
        Ok(())
    }
}
