// SPDX-License-Identifier: Apache-2.0
//! The location of an address.

use maxminddb::geoip2::{Asn, Enterprise};

/// The databases' knowledge of an address; names are the English ones.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Location {
    /// ISO 3166-1, two letters.
    pub country: Option<String>,
    /// Name of the country.
    pub country_name: Option<String>,
    /// Two letters: AF AN AS EU NA OC SA.
    pub continent: Option<String>,
    /// Name of the city.
    pub city: Option<String>,
    /// Degrees north.
    pub latitude: Option<f64>,
    /// Degrees east.
    pub longitude: Option<f64>,
    /// Name in the time zone database, such as `Asia/Shanghai`.
    pub time_zone: Option<String>,
    /// Number of the autonomous system.
    pub asn: Option<u32>,
    /// The organisation that runs the autonomous system.
    pub org: Option<String>,
}

impl Location {
    /// From one database's record. The layouts are subsets of one another but for where the ASN
    /// stands.
    pub(crate) fn from_record(record: &Enterprise<'_>, network: &Asn<'_>) -> Self {
        let text = |value: Option<&str>| value.map(str::to_owned);
        let traits = &record.traits;
        Location {
            country: text(record.country.iso_code),
            country_name: text(record.country.names.english),
            continent: text(record.continent.code),
            city: text(record.city.names.english),
            latitude: record.location.latitude,
            longitude: record.location.longitude,
            time_zone: text(record.location.time_zone),
            asn: network.autonomous_system_number.or(traits.autonomous_system_number),
            org: text(network.autonomous_system_organization.or(traits.autonomous_system_organization)),
        }
    }

    /// Takes from `other` the fields that this one lacks, but for those that would contradict the
    /// country, or split what belongs together.
    pub(crate) fn complete(&mut self, other: Location) {
        if self.asn.is_none() {
            (self.asn, self.org) = (other.asn, other.org);
        }
        if self.country.is_some() && other.country.is_some() && self.country != other.country {
            return;
        }
        if self.latitude.is_none() || self.longitude.is_none() {
            (self.latitude, self.longitude) = (other.latitude, other.longitude);
        }
        for (own, others) in [
            (&mut self.country, other.country),
            (&mut self.country_name, other.country_name),
            (&mut self.continent, other.continent),
            (&mut self.city, other.city),
            (&mut self.time_zone, other.time_zone),
        ] {
            if own.is_none() {
                *own = others;
            }
        }
    }

    /// Whether nothing is known.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Location::default()
    }
}

#[cfg(test)]
mod tests {
    use super::Location;

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn the_first_that_knows_a_field_counts() {
        let mut place = Location { country: text("CN"), ..Location::default() };
        place.complete(Location {
            country: text("CN"),
            country_name: text("China"),
            asn: Some(1),
            ..Location::default()
        });
        place.complete(Location {
            city: text("Changchun"),
            asn: Some(2),
            org: text("Org"),
            ..Location::default()
        });
        let expected = Location {
            country: text("CN"),
            country_name: text("China"),
            city: text("Changchun"),
            asn: Some(1),
            ..Location::default()
        };
        assert_eq!(place, expected);
    }

    #[test]
    fn a_database_that_contradicts_the_country_adds_no_city() {
        let mut place = Location { country: text("CN"), ..Location::default() };
        place.complete(Location {
            country: text("US"),
            city: text("Milton"),
            latitude: Some(47.2),
            longitude: Some(-122.3),
            asn: Some(209),
            ..Location::default()
        });
        assert_eq!(place, Location { country: text("CN"), asn: Some(209), ..Location::default() });
    }

    #[test]
    fn half_a_position_is_none() {
        let mut place = Location { latitude: Some(1.0), ..Location::default() };
        place.complete(Location { latitude: Some(2.0), longitude: Some(3.0), ..Location::default() });
        assert_eq!((place.latitude, place.longitude), (Some(2.0), Some(3.0)));
    }
}
