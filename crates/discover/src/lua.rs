// SPDX-License-Identifier: Apache-2.0
//! Members that a script's function names: `lua:discover.lua`. Somebody else runs it, in a thread
//! of scripts; here it is asked for, and its answer is read.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use balance::settings::LuaPlace;
use tokio::sync::oneshot;
use xxhash_rust::xxh64::xxh64;

use crate::source::{Look, PolledSource};
use crate::{Listed, ListingRules, listing};

/// Most bytes of a list.
const MOST: usize = 16 << 20;
/// How much longer than a call itself its answer may take: the thread has other work as well.
const LATE: Duration = Duration::from_secs(5);

/// A function that is to be called.
pub struct LuaQuestion {
    /// Which one, and for how long.
    pub place: LuaPlace,
    /// Gets what it has returned.
    pub answer: LuaAnswer,
}

/// The way back for a list. Dropped without one, the source fails.
pub struct LuaAnswer(oneshot::Sender<Result<Vec<u8>, String>>);

impl LuaAnswer {
    /// Gives the text of a list, or what is wrong.
    pub fn give(self, found: Result<Vec<u8>, String>) {
        // Nobody waits any more.
        let _ = self.0.send(found);
    }

    /// Whether somebody waits for it.
    pub fn is_wanted(&self) -> bool {
        !self.0.is_closed()
    }
}

/// Passes questions on to the thread of scripts.
pub type AskLua = Arc<dyn Fn(LuaQuestion) + Send + Sync>;

/// See the module.
pub(crate) struct LuaSource {
    place: LuaPlace,
    rules: ListingRules,
    ask: AskLua,
    /// The last text, and what it said.
    known: Option<(u64, Result<Arc<Listed>, String>)>,
}

impl LuaSource {
    pub(crate) fn new(place: LuaPlace, rules: ListingRules, ask: AskLua) -> Self {
        LuaSource { place, rules, ask, known: None }
    }

    async fn call(&mut self) -> Result<Arc<Listed>, String> {
        let (answer, heard) = oneshot::channel();
        (self.ask)(LuaQuestion { place: self.place.clone(), answer: LuaAnswer(answer) });
        let most = Duration::from_millis(self.place.timeout_ms) + LATE;
        let text = match tokio::time::timeout(most, heard).await {
            Ok(Ok(found)) => found?,
            Ok(Err(_)) => return Err("the thread that runs scripts has begun anew".to_owned()),
            Err(_) => {
                return Err(format!("no answer within {} s: the thread of scripts is busy", most.as_secs()));
            }
        };
        if text.len() > MOST {
            return Err(format!("the list has more than {} MiB", MOST >> 20));
        }
        let hash = xxh64(&text, 0);
        if let Some((_, found)) = self.known.as_ref().filter(|(known, _)| *known == hash) {
            return found.clone();
        }
        let found = listing::read(&text, self.rules).map(Arc::new).map_err(|problem| problem.to_string());
        self.known = Some((hash, found.clone()));
        found
    }
}

impl PolledSource for LuaSource {
    fn look(&mut self) -> Pin<Box<dyn Future<Output = Look> + '_>> {
        Box::pin(async {
            let pause = Duration::from_millis(self.place.every_ms);
            self.call().await.map_or_else(Look::Failed, |list| Look::List(list, pause))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::tests::look;

    const RULES: ListingRules = ListingRules { skip_invalid: false, max: 10, misfit: |_| None };

    fn source(ask: impl Fn(LuaQuestion) + Send + Sync + 'static) -> LuaSource {
        LuaSource::new(LuaPlace::of("discover.lua".to_owned()), RULES, Arc::new(ask))
    }

    #[test]
    fn a_list_of_a_function_is_read_like_any_other() {
        let mut source = source(|question| {
            assert_eq!(question.place.function, "discover");
            assert!(question.answer.is_wanted());
            question.answer.give(Ok(b"[{\"url\":\"http://a:1\",\"weight\":2}]".to_vec()));
        });
        let first = look(&mut source).found().expect("a list");
        assert_eq!(first.members[0].to_line(), "http://a:1 weight=2");
        assert!(Arc::ptr_eq(&first, &look(&mut source).found().expect("the same list")));
    }

    #[test]
    fn errors_and_lost_questions_fail_the_source() {
        let found = |ask: fn(LuaQuestion)| look(&mut source(ask)).found().expect_err("an error");
        assert_eq!(found(|question| question.answer.give(Err("it is broken".into()))), "it is broken");
        assert_eq!(found(drop), "the thread that runs scripts has begun anew");
        let said = found(|question| question.answer.give(Ok(vec![b' '; MOST + 1])));
        assert_eq!(said, "the list has more than 16 MiB");
        let said = found(|question| question.answer.give(Ok(b"[1]".to_vec())));
        assert!(said.starts_with("[0]: found a number"), "{said}");
    }
}
