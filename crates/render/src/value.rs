// SPDX-License-Identifier: Apache-2.0
//! Values of documents that JSON has no type for.

use serde::{Serialize, Serializer};

/// A number that is written without a fraction where it has none.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Figure(pub f64);

impl Figure {
    /// A weight, from hundredths.
    pub fn weight(hundredths: u32) -> Self {
        Figure(f64::from(hundredths) / 100.0)
    }

    /// Seconds, from milliseconds.
    pub fn seconds(ms: u64) -> Self {
        Figure(ms as f64 / 1000.0)
    }

    /// Seconds that were measured, to the microsecond.
    pub fn measured(seconds: f64) -> Self {
        Figure((seconds * 1e6).round() / 1e6)
    }
}

impl Serialize for Figure {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        /// Whole numbers up to here are exact.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if self.0.fract() == 0.0 && self.0.abs() < EXACT {
            to.serialize_i64(self.0 as i64)
        } else {
            to.serialize_f64(self.0)
        }
    }
}

/// Keys and values, as an object in their own order.
#[derive(Debug, Clone, Copy)]
pub struct Pairs<'a>(pub &'a [(String, String)]);

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

#[cfg(feature = "schema")]
mod schema {
    use std::borrow::Cow;

    use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

    use super::{Figure, Pairs};

    impl JsonSchema for Figure {
        fn inline_schema() -> bool {
            true
        }

        fn schema_name() -> Cow<'static, str> {
            "Figure".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({ "type": "number" })
        }
    }

    impl JsonSchema for Pairs<'_> {
        fn inline_schema() -> bool {
            true
        }

        fn schema_name() -> Cow<'static, str> {
            "Pairs".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({ "type": "object", "additionalProperties": { "type": "string" } })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_have_no_fraction() {
        let written = |number: Figure| serde_json::to_string(&number).unwrap_or_default();
        for (number, text) in [
            (Figure::weight(300), "3"),
            (Figure::weight(150), "1.5"),
            (Figure::weight(0), "0"),
            (Figure::seconds(1500), "1.5"),
            (Figure::measured(0.012_345_678), "0.012346"),
            (Figure(1e300), "1e+300"),
            (Figure(f64::NAN), "null"),
        ] {
            assert_eq!(written(number), text);
        }
    }
}
