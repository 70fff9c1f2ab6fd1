// SPDX-License-Identifier: Apache-2.0
//! A dictionary over another one: what is there can be read, and what is written is seen here
//! alone. A top level that is vetted gets this.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::dict::{incremented, may_store, most};
use crate::host::{Dict, DictError, Scalar, Store};

/// Most entries that are written.
const MOST: usize = 10_000;

/// A written value, with the time left; None: removed. Written values do not expire.
type Written = Option<(Scalar, f64)>;

/// Writes over a dictionary, kept here.
pub struct Overlay {
    below: Rc<dyn Dict>,
    written: RefCell<HashMap<Vec<u8>, Written>>,
}

impl Overlay {
    /// Nothing is written yet.
    pub fn over(below: Rc<dyn Dict>) -> Self {
        Overlay { below, written: RefCell::default() }
    }

    /// Forgets what was written.
    pub fn forget(&self) {
        self.written.borrow_mut().clear();
    }

    fn write(&self, key: &[u8], entry: Written) -> Result<(), DictError> {
        let mut written = self.written.borrow_mut();
        if written.len() >= MOST && !written.contains_key(key) {
            return Err(DictError::NoMemory);
        }
        written.insert(key.to_vec(), entry);
        Ok(())
    }
}

impl Dict for Overlay {
    fn get(&self, key: &[u8]) -> Result<Option<Scalar>, DictError> {
        match self.written.borrow().get(key) {
            Some(entry) => Ok(entry.as_ref().map(|(value, _)| value.clone())),
            None => self.below.get(key),
        }
    }

    fn store(&self, how: Store, key: &[u8], value: Scalar, ttl: f64) -> Result<bool, DictError> {
        may_store(how, self.get(key)?.is_some())?;
        self.write(key, Some((value, ttl)))?;
        Ok(false)
    }

    fn incr(
        &self,
        key: &[u8],
        by: Scalar,
        init: Option<Scalar>,
        init_ttl: f64,
    ) -> Result<(Scalar, bool), DictError> {
        let before = self.get(key)?.map(|before| (before, self.ttl(key).unwrap_or(0.0)));
        let (sum, ttl) = incremented(before, &by, || Some((init?, init_ttl)))?;
        self.write(key, Some((sum.clone(), ttl)))?;
        Ok((sum, false))
    }

    fn get_stale(&self, key: &[u8]) -> Result<Option<(Scalar, bool)>, DictError> {
        match self.written.borrow().get(key) {
            Some(entry) => Ok(entry.as_ref().map(|(value, _)| (value.clone(), false))),
            None => self.below.get_stale(key),
        }
    }

    fn delete(&self, key: &[u8]) -> Result<(), DictError> {
        self.write(key, None)
    }

    fn ttl(&self, key: &[u8]) -> Result<f64, DictError> {
        match self.written.borrow().get(key) {
            Some(Some((_, ttl))) => Ok(*ttl),
            Some(None) => Err(DictError::NotFound),
            None => self.below.ttl(key),
        }
    }

    fn expire(&self, key: &[u8], ttl: f64) -> Result<(), DictError> {
        let value = self.get(key)?.ok_or(DictError::NotFound)?;
        self.write(key, Some((value, ttl)))
    }

    fn keys(&self, max: usize) -> Result<Vec<Vec<u8>>, DictError> {
        let written = self.written.borrow();
        let own = written.iter().filter(|(_, entry)| entry.is_some()).map(|(key, _)| key.clone());
        let below = self.below.keys(max)?.into_iter().filter(|key| !written.contains_key(key));
        Ok(own.chain(below).take(most(max)).collect())
    }

    fn clear(&self) -> Result<(), DictError> {
        for key in self.keys(MOST)? {
            self.delete(&key)?;
        }
        Ok(())
    }

    fn purge(&self, _max: usize) -> Result<usize, DictError> {
        Ok(0)
    }

    fn room(&self) -> (usize, usize) {
        self.below.room()
    }
}
