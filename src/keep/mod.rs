//! What is kept over restarts: dictionaries, and the databases of places.

pub mod dicts;
pub mod geoip;
