// SPDX-License-Identifier: Apache-2.0
//! A child's values for its requests: connection pools, Lua states, the host of scripts, the
//! directives of a place.

pub mod admitted;
pub mod answering;
pub mod anywhere;
pub mod background;
pub mod calls;
pub mod child;
pub mod fronts;
pub mod generation;
pub mod host;
pub mod keys;
pub mod lists;
pub mod lua_states;
pub mod opinions;
pub mod own_config;
pub mod places;
pub mod reach;
pub mod read_only;
pub mod scope;
pub mod scripts;
pub mod shadows;
pub mod snapshot;
pub mod stated;
pub mod store;
pub mod trials;
pub mod troubles;
pub mod waiting_room;
pub mod workers;
