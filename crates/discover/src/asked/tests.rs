// SPDX-License-Identifier: Apache-2.0
use super::*;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::{Lookout, PolledSource, SourcePlan};

/// Gives these, then the last one again and again; where there is None it gives nothing.
struct Script {
    looks: Vec<Option<Result<usize, &'static str>>>,
    pause: Duration,
    count: Arc<AtomicUsize>,
}

impl PolledSource for Script {
    fn look(&mut self) -> Pin<Box<dyn Future<Output = Look> + '_>> {
        let at = self.count.fetch_add(1, Ordering::SeqCst).min(self.looks.len() - 1);
        Box::pin(async move {
            let found = match self.looks[at] {
                Some(found) => found,
                None => std::future::pending().await,
            };
            let list = |count| Listed { skipped: count, ..Listed::default() };
            let found = found.map(|count| Arc::new(list(count))).map_err(str::to_owned);
            Look { found, pause: self.pause }
        })
    }
}

fn plan(source: Script) -> SourcePlan {
    SourcePlan::Asked(Box::new(move || Box::new(source)))
}

/// A source that runs, and how often it was looked at.
fn start(looks: Vec<Option<Result<usize, &'static str>>>, pause: Duration) -> (Lookout, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let source = Script { looks, pause, count: count.clone() };
    let plans = vec![plan(source)];
    let search = Lookout::start(plans, || {}, &mut |_, job| {
        std::thread::spawn(job);
        true
    });
    (search.expect("a search"), count)
}

fn next(search: &Lookout) -> Sighting {
    let until = Instant::now() + Duration::from_secs(20);
    while Instant::now() < until {
        if let Some(sighting) = search.told().next() {
            return sighting;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    panic!("nothing was told");
}

const LONG: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(5);

#[test]
fn lists_are_told_and_the_same_one_is_not_new() {
    let (search, _) = start(vec![Some(Ok(1)), Some(Ok(1)), Some(Ok(2))], SHORT);
    let new: Vec<bool> = (0..4).map(|_| next(&search).is_new).collect();
    assert_eq!(new, [true, false, true, false]);
}

#[test]
fn a_refresh_ends_a_pause_and_a_look_that_hangs() {
    let (search, count) = start(vec![Some(Ok(1)), None, Some(Ok(2))], LONG);
    next(&search);
    search.refresh();
    while count.load(Ordering::SeqCst) < 2 {
        std::thread::sleep(SHORT);
    }
    search.refresh();
    assert_eq!(next(&search).found.map(|list| list.skipped), Ok(2));
}

#[test]
fn many_refreshes_do_not_keep_a_slow_source_from_being_heard() {
    struct Slow;
    impl PolledSource for Slow {
        fn look(&mut self) -> Pin<Box<dyn Future<Output = Look> + '_>> {
            Box::pin(async {
                tokio::time::sleep(Duration::from_millis(100)).await;
                Look { found: Err("slow".to_owned()), pause: LONG }
            })
        }
    }
    let search =
        Lookout::start(vec![SourcePlan::Asked(Box::new(|| Box::new(Slow)))], || {}, &mut |_, job| {
            std::thread::spawn(job);
            true
        });
    let search = search.expect("a search");
    let until = Instant::now() + Duration::from_secs(20);
    while search.told().next().is_none() {
        assert!(Instant::now() < until, "nothing was told");
        search.refresh();
        std::thread::sleep(SHORT);
    }
}

#[test]
fn a_failure_is_told_and_looked_at_again_soon() {
    let (search, _) = start(vec![Some(Err("gone")), Some(Ok(1))], LONG);
    assert_eq!(next(&search).found, Err("gone".to_owned()));
    assert!(next(&search).found.is_ok());
}

#[test]
fn pauses_double_up_to_a_limit_and_begin_anew_after_a_list() {
    let mut backoff = Backoff::new(7);
    let mut whole = PAUSES[0];
    for _ in 0..40 {
        let pause = backoff.next();
        assert!(pause <= whole && pause >= whole.mul_f64(0.74), "{pause:?} of {whole:?}");
        whole = (whole * 2).min(PAUSES[1]);
    }
    backoff.ends();
    assert!(backoff.next() <= PAUSES[0]);
}

#[test]
fn a_thread_ends_with_its_search() {
    let ended = Arc::new(AtomicUsize::new(0));
    let counter = ended.clone();
    let source = Script { looks: vec![None], pause: LONG, count: Arc::default() };
    let search = Lookout::start(vec![plan(source)], || {}, &mut |_, job| {
        let counter = counter.clone();
        std::thread::spawn(move || {
            job();
            counter.fetch_add(1, Ordering::SeqCst);
        });
        true
    });
    drop(search);
    let until = Instant::now() + Duration::from_secs(20);
    while ended.load(Ordering::SeqCst) == 0 {
        assert!(Instant::now() < until, "the thread goes on");
        std::thread::sleep(SHORT);
    }
}
