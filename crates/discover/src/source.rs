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
pub enum Look {
    /// The list as it is now, the same `Arc` for the same list, and how long the source is left
    /// alone. Zero is for a source whose next look waits for a change.
    List(Arc<Listed>, Duration),
    /// The error, in one line. The pause after it grows, for all kinds alike.
    Failed(String),
    /// The source is there, and its list is wrong for this reason. The next look waits for another
    /// list by itself, and asks nobody for it meanwhile: only a source that is watched may say so.
    Unmended(String),
}

impl Look {
    /// The list, or the error.
    pub fn found(self) -> Result<Arc<Listed>, String> {
        match self {
            Look::List(list, _) => Ok(list),
            Look::Failed(why) | Look::Unmended(why) => Err(why),
        }
    }
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
