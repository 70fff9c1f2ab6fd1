// SPDX-License-Identifier: Apache-2.0
//! What is known of a store that servers share, over restarts: the children of all configurations
//! with the same store have it together.
#![allow(unsafe_code)]

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::mem::ManuallyDrop;

use super::mappings::{Mapping, Mappings};
use crate::httpd::memory::SharedWords;
use crate::httpd::retained::Block;

static RETAINED: Block<Mappings<3>> = Block::new("mod_lua_balancer orders", 3);

/// The words, by what they are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreWords {
    /// Orders.
    Orders,
    /// The servers that are alive.
    Fronts,
    /// Their opinions about members.
    Opinions,
}

/// The words of the store with this prefix: those of the last configuration if it had the same one,
/// else new ones, all 0. For the parent.
///
/// # Errors
/// The system gives no memory.
pub fn words<const N: usize>(
    about: StoreWords,
    prefix: &str,
) -> Result<ManuallyDrop<SharedWords<N>>, String> {
    RETAINED.with(|kept| open(kept, about, prefix)).ok_or("httpd keeps no retained data")?
}

fn open<const N: usize>(
    kept: &mut Mappings<3>,
    about: StoreWords,
    prefix: &str,
) -> Result<ManuallyDrop<SharedWords<N>>, String> {
    let mut hasher = DefaultHasher::new();
    prefix.hash(&mut hasher);
    let mark = match about {
        StoreWords::Orders => 'o',
        StoreWords::Fronts => 'f',
        StoreWords::Opinions => 'h',
    };
    let name = format!("{mark}{:016x}", hasher.finish());
    let mapping = match kept.find(&name).filter(|kept| kept.length == SharedWords::<N>::BYTES) {
        Some(mapping) => mapping,
        None => {
            let mapping = Mapping::new(SharedWords::<N>::BYTES)?;
            // SAFETY: a fresh mapping, which its list alone gives back. The one before was an
            // earlier configuration's, whose users in the parent are gone.
            unsafe {
                kept.retain(|known| known == name || !known.starts_with(mark));
                kept.put(&name, mapping)?;
            }
            mapping
        }
    };
    // SAFETY: a mapping of this length, which stays until a later configuration has another store.
    Ok(unsafe { SharedWords::kept(mapping.base) })
}
