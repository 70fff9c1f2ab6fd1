//! What a child has for its requests: connection pools, Lua states, the host of scripts, the directives of a place.

pub mod background;
pub mod child;
pub mod host;
pub mod keys;
pub mod lua_states;
pub mod scope;
pub mod scripts;
pub mod snapshot;
pub mod waiting_room;
pub mod workers;
