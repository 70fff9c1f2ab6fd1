// SPDX-License-Identifier: Apache-2.0
//! httpd's workers in virtual time (`MaxRequestWorkers`): a request that finds none free waits in
//! front of the server, first come, first served, before any hook sees it. One that waits for a
//! place at a member (`queue=`) keeps its worker meanwhile, as in the module.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::figures::Times;
use super::format::Record;

/// The workers of a server.
#[derive(Default)]
pub struct Workers {
    /// None: nobody waits for one.
    most: Option<u32>,
    busy: u32,
    /// When workers become free, in microseconds since the beginning.
    ends: BinaryHeap<Reverse<u64>>,
    line: VecDeque<Outside>,
    /// The counts.
    pub figures: WorkerFigures,
}

/// The counts of workers.
#[derive(Debug, Clone, Default)]
pub struct WorkerFigures {
    /// All workers; None: as many as are needed.
    pub most: Option<u32>,
    /// Most that were busy at the same time.
    pub peak: u32,
    /// Requests that have waited for one.
    pub waited: u64,
    /// How long they waited.
    pub waits: Times,
    /// Most that waited at the same time.
    pub line_peak: u64,
    /// Most connections that the kernel holds for httpd (`ListenBacklog`).
    pub backlog: u32,
}

/// A request that waits in front of the server.
pub struct Outside {
    /// Its number.
    pub number: u64,
    /// When it came, in seconds since the beginning.
    pub came: f64,
    /// The request.
    pub record: Record,
    /// How long a member takes for it.
    pub took: f64,
}

impl Workers {
    /// So many. None: as many as are needed.
    pub fn of(most: Option<u32>, backlog: u32) -> Self {
        let figures = WorkerFigures { most, backlog, ..WorkerFigures::default() };
        Workers { most, figures, ..Workers::default() }
    }

    /// Whether a request that comes now has to wait.
    pub fn is_full(&self) -> bool {
        self.most.is_some_and(|most| self.busy >= most)
    }

    /// One more waits.
    pub fn wait(&mut self, outside: Outside) {
        self.figures.waited += 1;
        self.line.push_back(outside);
        self.figures.line_peak = self.figures.line_peak.max(self.line.len() as u64);
    }

    /// A worker takes a request.
    pub fn begin(&mut self) {
        if self.most.is_some() {
            self.busy += 1;
            self.figures.peak = self.figures.peak.max(self.busy);
        }
    }

    /// Its worker is free at that moment.
    pub fn end_at(&mut self, seconds: f64) {
        if self.most.is_some() {
            self.ends.push(Reverse((seconds * 1e6).ceil() as u64));
        }
    }

    /// When the next worker becomes free.
    pub fn next_end(&self) -> Option<f64> {
        self.ends.peek().map(|Reverse(at)| *at as f64 / 1e6)
    }

    /// Whether anybody waits.
    pub fn has_line(&self) -> bool {
        !self.line.is_empty()
    }

    /// A worker is free at this moment; the request that it takes.
    pub fn free(&mut self, now: f64) -> Option<Outside> {
        self.ends.pop();
        self.busy = self.busy.saturating_sub(1);
        let next = self.line.pop_front()?;
        self.figures.waits.add(now - next.came);
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_waits_is_the_first_that_is_taken() {
        let mut workers = Workers::of(Some(1), 511);
        assert!(!workers.is_full());
        workers.begin();
        for (number, came) in [(1, 0.1), (2, 0.2)] {
            assert!(workers.is_full());
            workers.wait(Outside { number, came, record: Record::default(), took: 0.0 });
        }
        workers.end_at(0.5);
        assert_eq!(workers.next_end(), Some(0.5));
        assert_eq!(workers.free(0.5).map(|next| next.number), Some(1));
        workers.begin();
        workers.end_at(0.7);
        assert_eq!(workers.free(0.7).map(|next| next.number), Some(2));
        assert!(
            !workers.has_line()
                && workers.figures.waited == 2
                && workers.figures.line_peak == 2
                && workers.figures.peak == 1
        );
        let mut unlimited = Workers::of(None, 511);
        (0..1000).for_each(|_| unlimited.begin());
        unlimited.end_at(1.0);
        assert!(!unlimited.is_full() && unlimited.next_end().is_none());
    }
}
