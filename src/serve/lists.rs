// SPDX-License-Identifier: Apache-2.0
//! Questions of sources (`LuaBalancerDiscovery lua:`) for the thread that runs scripts besides
//! requests: sources are asked in a thread of their own, which has no Lua.

use std::sync::Arc;

use discover::{AskLua, LuaQuestion};
use parking_lot::Mutex;

/// Most questions that wait; more are dropped, which fails their sources.
const MOST: usize = 1000;

/// See the module. Clones are the same desk.
#[derive(Clone, Default)]
pub struct ListDesk(Arc<Inner>);

#[derive(Default)]
struct Inner {
    questions: Mutex<Vec<LuaQuestion>>,
    waker: Mutex<Option<probe::Waker>>,
}

impl ListDesk {
    /// Puts questions here.
    pub fn asker(&self) -> AskLua {
        let desk = self.clone();
        Arc::new(move |question| desk.put(question))
    }

    fn put(&self, question: LuaQuestion) {
        let mut questions = self.0.questions.lock();
        if questions.len() < MOST {
            questions.push(question);
        }
        drop(questions);
        if let Some(waker) = self.0.waker.lock().as_ref() {
            waker.wake();
        }
    }

    /// A thread that answers is there; it is woken for each question.
    pub fn opens(&self, waker: probe::Waker) {
        *self.0.waker.lock() = Some(waker);
    }

    /// The questions to which somebody waits for an answer.
    pub fn take(&self) -> Vec<LuaQuestion> {
        let all = std::mem::take(&mut *self.0.questions.lock());
        all.into_iter().filter(|question| question.answer.is_wanted()).collect()
    }
}
