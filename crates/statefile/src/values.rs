// SPDX-License-Identifier: Apache-2.0
//! Values of the document as people read them, and as they are checked when they are read.

use balance::order::{AdminState, Then};
use balance::status::MAX_WEIGHT_HUNDREDTHS;
use render::time::Time;
use render::value::Figure;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A time, in epoch seconds: `2026-11-29T12:00:00Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeptTime(pub u64);

/// A weight, in hundredths: `1.5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weight(pub u32);

/// `ready`, `drain` or `disabled`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdminWord(pub AdminState);

/// These, or `removed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThenWord(pub Then);

impl Serialize for KeptTime {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Time(self.0).serialize(to)
    }
}

impl<'de> Deserialize<'de> for KeptTime {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let time = Time::parse(&text).ok_or_else(|| D::Error::custom("a time such as 2026-11-29T12:00:00Z"));
        time.map(|time| KeptTime(time.0))
    }
}

impl Serialize for Weight {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Figure::weight(self.0).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Weight {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let hundredths = f64::deserialize(from)? * 100.0;
        let whole = hundredths.round();
        let is_weight =
            (0.0..=f64::from(MAX_WEIGHT_HUNDREDTHS)).contains(&whole) && (whole - hundredths).abs() < 1e-3;
        // Exact: it is within the bounds.
        is_weight.then_some(Weight(whole as u32)).ok_or_else(|| D::Error::custom("a weight of 0 to 65535"))
    }
}

impl Serialize for AdminWord {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.0.word())
    }
}

impl<'de> Deserialize<'de> for AdminWord {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let admin = AdminState::from_word(&String::deserialize(from)?);
        admin.map(AdminWord).ok_or_else(|| D::Error::custom("ready, drain or disabled"))
    }
}

impl Serialize for ThenWord {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.0.word())
    }
}

impl<'de> Deserialize<'de> for ThenWord {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let word = String::deserialize(from)?;
        let then = match word.as_str() {
            "removed" => Some(Then::Removed),
            word => AdminState::from_word(word).map(Then::AdminState),
        };
        then.map(ThenWord).ok_or_else(|| D::Error::custom("ready, drain, disabled or removed"))
    }
}
