// SPDX-License-Identifier: Apache-2.0
//! The orders to a backend, and the notes of its connections.

use std::net::TcpStream;
use std::sync::atomic::AtomicUsize;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::meter::Meter;
use crate::message::Headers;
use crate::play::{Gate, Step};

/// The path that health checks ask for; it is counted and answered apart from other requests.
pub const HEALTH_PATH: &str = "/health";
/// How many requests are recorded.
pub(super) const REMEMBERED: usize = 20_000;

/// How requests are answered. The health path, whose status
/// [`Backend::health_status`](super::Backend::health_status) sets, is not affected by the manners
/// that concern a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Manner {
    #[default]
    Answer,
    Hang,
    Reset,
    ResetKeptAlive,
    CloseAfterAccept,
    Slow(Duration),
    SlowAsAsked,
    SlowEvery(usize, Duration),
    CloseAtRandom,
    Play(Vec<Step>),
    HalfHeader,
    HalfBody,
    Status(u16),
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// `GET`, `POST`, …
    pub method: String,
    /// The request target as sent.
    pub uri: String,
    /// Its header fields.
    pub headers: Headers,
    /// Bytes of the body.
    pub body_length: usize,
    /// [`body_hash`](crate::message::body_hash) of the body.
    pub body_hash: String,
    /// The connection's number, from 1.
    pub connection: usize,
}

/// The orders that change while a backend serves.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) manner: Manner,
    pub(super) health: Option<u16>,
    pub(super) closed: bool,
    pub(super) extra: Vec<(String, String)>,
    pub(super) chunked: bool,
    pub(super) recorded: Vec<Recorded>,
    pub(super) streams: Vec<(usize, TcpStream)>,
}

/// The values that a backend and its connections have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) name: String,
    pub(super) state: Mutex<State>,
    pub(super) changed: Condvar,
    pub(super) connections: AtomicUsize,
    pub(super) requests: AtomicUsize,
    pub(super) health_checks: AtomicUsize,
    pub(super) in_flight: AtomicUsize,
    pub(super) meter: Mutex<Meter>,
    pub(super) gate: Gate,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
