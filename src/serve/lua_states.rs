// SPDX-License-Identifier: Apache-2.0
//! The child's Lua states. A script is called on the state that this processor used last, whatever
//! thread it runs on: that one is in the processor's caches, and there are only as many states as
//! scripts ever ran at once. A state in which scripts keep something for the length of a
//! request (`ngx.ctx`) stays with its thread.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

use balance::engine::{Engine, Handle};
use parking_lot::Mutex;
use script::{Library, LuaState, ScriptError};
use table::Table;

use crate::httpd::memory;
use crate::httpd::mpm;
use crate::httpd::request::Request;
use crate::keep::dicts::Dicts;
use crate::serve::host::{CurrentRequest, HttpdServer};
use crate::serve::keys::KeyExpressions;

/// The values that a state is made of.
pub struct Parts {
    /// Picks.
    pub engine: Arc<Engine<Table>>,
    /// Scripts.
    pub library: Arc<Library>,
    /// Dictionaries.
    pub dicts: Arc<Dicts>,
    /// Parsed `key=` expressions.
    pub keys: Arc<KeyExpressions>,
    /// The child's number.
    pub lane: u32,
    /// The versions of scripts that the states run.
    pub versions: Versions,
}

/// The versions of scripts that a set of states runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versions {
    /// The versions that serve.
    Serving,
    /// The versions on trial.
    OnTrial,
}

/// A Lua state, with the request that it is called for.
struct Seat {
    request: Rc<CurrentRequest>,
    state: LuaState,
}

impl Seat {
    fn new(parts: &Parts) -> Result<Box<Self>, ScriptError> {
        let request = Rc::new(CurrentRequest::new(parts.keys.clone()));
        let balancer = Rc::new(Handle::new(parts.engine.clone(), memory::seed()));
        let server = Rc::new(HttpdServer::new(request.clone(), parts.lane, parts.dicts.clone()));
        let state = LuaState::new(server, request.clone(), balancer, parts.library.clone())?;
        Ok(Box::new(Seat { request, state }))
    }
}

/// The seat that a processor keeps, on cache lines of its own.
#[repr(align(128))]
struct PerProcessor(AtomicPtr<Seat>);

/// A child's states, those that nobody is using.
pub struct LuaStates {
    parts: Parts,
    places: Box<[PerProcessor]>,
    // Boxes, as in the places: a seat goes between them without being moved in memory.
    #[allow(clippy::vec_box)]
    rest: Mutex<Vec<Box<Seat>>>,
}

// SAFETY: A seat is in one place or in one thread's hands, and goes from hand to hand through an
// atomic exchange or a lock, so that what one thread did with it is seen by the next. All that is
// not thread-safe in it (the Lua state, reference counts of `Rc`) is reached through the seat
// alone, and neither Lua nor mlua keep anything of a state by thread.
#[allow(unsafe_code)]
unsafe impl Send for LuaStates {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for LuaStates {}

/// A seat in use; goes back when dropped.
struct Taken<'s> {
    seats: &'s LuaStates,
    seat: Option<Box<Seat>>,
}

thread_local! {
    /// The seat of a thread whose scripts keep something for the length of a request: one thread
    /// handles all of a request but its end.
    static OWN: [Cell<Option<Box<Seat>>>; 2] = const { [Cell::new(None), Cell::new(None)] };
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let Some(seat) = self.seat.take() else { return };
        if seat.state.is_exhausted() {
            // The next call makes a new one.
            return drop(seat);
        }
        if seat.state.keeps_request() {
            let set = self.seats.parts.versions as usize;
            let Ok(before) = OWN.try_with(|own| own[set].replace(Some(seat))) else { return };
            // The seat is that of a call inside this one.
            if let Some(before) = before {
                self.seats.put(before, self.seats.place());
            }
            return;
        }
        self.seats.put(seat, self.seats.place());
    }
}

impl LuaStates {
    /// No states yet; room for one by each processor. A child with one thread has use for one
    /// state, wherever it runs.
    pub fn new(parts: Parts) -> Self {
        let processors = if mpm::is_threaded() {
            std::thread::available_parallelism().map_or(1, usize::from).next_power_of_two()
        } else {
            1
        };
        LuaStates {
            parts,
            places: (0..processors.min(256)).map(|_| PerProcessor(AtomicPtr::default())).collect(),
            rest: Mutex::default(),
        }
    }

    fn place(&self) -> &AtomicPtr<Seat> {
        &self.places[memory::processor() & (self.places.len() - 1)].0
    }

    fn take(&self) -> Option<Box<Seat>> {
        if let Ok(Some(own)) = OWN.try_with(|own| own[self.parts.versions as usize].take()) {
            return Some(own);
        }
        let here = self.place().swap(std::ptr::null_mut(), Ordering::Acquire);
        if here.is_null() {
            return self.rest.lock().pop();
        }
        // SAFETY: made by Box::into_raw in `put`, and taken out by the exchange, so that nobody
        // else has it.
        #[allow(unsafe_code)]
        Some(unsafe { Box::from_raw(here) })
    }

    fn put(&self, seat: Box<Seat>, place: &AtomicPtr<Seat>) {
        let seat = Box::into_raw(seat);
        let empty = std::ptr::null_mut();
        if place.compare_exchange(empty, seat, Ordering::Release, Ordering::Relaxed).is_err() {
            // SAFETY: made by Box::into_raw above, and not handed over.
            #[allow(unsafe_code)]
            self.rest.lock().push(unsafe { Box::from_raw(seat) });
        }
    }

    /// Ends the states that nobody is using. States that threads keep end at their next use.
    pub fn clear(&self) {
        for place in &self.places {
            let here = place.0.swap(std::ptr::null_mut(), Ordering::Acquire);
            if !here.is_null() {
                // SAFETY: made by Box::into_raw in `put`, and taken out by the exchange, so that
                // nobody else has it.
                #[allow(unsafe_code)]
                drop(unsafe { Box::from_raw(here) });
            }
        }
        self.rest.lock().clear();
    }

    /// Makes states ahead of the first requests, for as many scripts at once as there are
    /// processors, and a few at most.
    pub fn prepare(&self) {
        const MOST: usize = 4;
        if self.parts.library.ids().next().is_none() {
            return;
        }
        let count = if mpm::is_threaded() { self.places.len().min(MOST) } else { 1 };
        let mut made = Vec::new();
        for _ in 0..count {
            let Ok(seat) = Seat::new(&self.parts) else { break };
            for id in self.parts.library.ids().filter(|id| !self.parts.library.is_shadow(*id)) {
                // A script that does not load says so when it is called.
                let _ = seat.state.load(id);
            }
            made.push(seat);
        }
        for (seat, place) in made.into_iter().zip(self.places.iter().cycle()) {
            self.put(seat, &place.0);
        }
    }

    /// Calls `body` with a state whose scripts see this request.
    pub fn with<T>(
        &self,
        request: Request<'_>,
        body: impl FnOnce(&LuaState) -> Result<T, ScriptError>,
    ) -> Result<T, ScriptError> {
        let seat = match self.take() {
            Some(seat) => seat,
            None => Seat::new(&self.parts)?,
        };
        let taken = Taken { seats: self, seat: Some(seat) };
        let Some(seat) = &taken.seat else { unreachable!("just put in") };
        let _current = seat.request.enter(request);
        body(&seat.state)
    }
}
