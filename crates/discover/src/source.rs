// SPDX-License-Identifier: Apache-2.0
//! A source that is asked, and the words of all sources for a look.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::Listed;

/// A source that is asked, on the thread that has made it.
pub trait PolledSource {
    /// Looks until there is something to tell. It keeps its own deadlines. It may be dropped in the
    /// midst: when the lead ends, or once when somebody wants it asked anew.
    fn look(&mut self) -> Pin<Box<dyn Future<Output = Look> + '_>>;
}

/// The result of a look.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// The list as it is now, or what is wrong, in one line. The same `Arc` for the same list.
    pub found: Result<Arc<Listed>, String>,
    /// How long the source is left alone after a list. After a failure that is decided for all
    /// kinds alike, unless it is zero: the source waits by itself for another list.
    pub pause: Duration,
}

/// Makes a source on the thread that is going to ask it.
pub type MakeSource = Box<dyn FnOnce() -> Box<dyn PolledSource> + Send>;

/// The result of a look, as it is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Sighting {
    /// The place of the source in the list of plans.
    pub source: usize,
    /// The list as it is now, or what is wrong, in one line.
    pub found: Result<Arc<Listed>, String>,
    /// It is another list than last time.
    pub is_new: bool,
}
