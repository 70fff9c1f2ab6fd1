// SPDX-License-Identifier: Apache-2.0
//! Things that several servers share by an etcd. One process of each server keeps a copy of them
//! ([`OrderKeeper`]); any of its processes puts new ones there ([`Desk`]), one writer at a time for
//! each member. Which order holds is decided elsewhere ([`balance::sharing`]).
#![forbid(unsafe_code)]

mod desk;
mod fronts;
mod identity;
mod keeper;
mod opinions;
mod place;
mod value;

pub use desk::{Desk, KnownStore};
pub use fronts::{FrontHold, FrontKeeper, FrontNews, FrontSelf, LEASE_S, leave};
pub use keeper::{News, OfferSender, OrderKeeper, OrderOffer, PoolOrders, StoredOrders};
pub use opinions::{AllOpinions, Opinion, OwnOpinions, opinions_text, read_opinions};
pub use place::StorePlace;
