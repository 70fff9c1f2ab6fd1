// SPDX-License-Identifier: Apache-2.0
//! A JSON value of limited size: each of its parts takes more memory than its text.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Reads a value.
pub(super) struct Bounded<'l> {
    /// Parts that it may have still; 0 when it has more.
    pub left: &'l mut usize,
}

impl Bounded<'_> {
    fn part<E: Error>(self, value: impl Into<Value>) -> Result<Value, E> {
        self.take()?;
        Ok(value.into())
    }

    fn take<E: Error>(&self) -> Result<(), E> {
        if *self.left == 0 { Err(E::custom("it has too many parts")) } else { Ok(()) }
    }

    fn inner(&mut self) -> Bounded<'_> {
        *self.left = self.left.saturating_sub(1);
        Bounded { left: self.left }
    }
}

impl<'de> DeserializeSeed<'de> for Bounded<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<Value, D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Bounded<'_> {
    type Value = Value;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a JSON value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        self.part(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        self.part(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        self.part(value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        self.part(value)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.part(value)
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        self.part(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<Value, A::Error> {
        self.take()?;
        let mut all = Vec::new();
        while let Some(value) = list.next_element_seed(self.inner())? {
            all.push(value);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut keys: A) -> Result<Value, A::Error> {
        self.take()?;
        let mut all = Map::new();
        while let Some(key) = keys.next_key::<String>()? {
            all.insert(key, keys.next_value_seed(self.inner())?);
        }
        Ok(Value::Object(all))
    }
}
