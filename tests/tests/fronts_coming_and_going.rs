// SPDX-License-Identifier: Apache-2.0
//! A limit that several servers share, in a minute in which they come and go in all ways.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use server_tests::{Backend, Etcd, Httpd, Load, front, patience, pool};

const LIMIT: usize = 30;
const MINUTE: Duration = Duration::from_secs(60);
/// How long the member works on a request.
const WORK: Duration = Duration::from_millis(100);
/// How many requests the load of one server finishes while nobody comes or goes.
const CALM: usize = 120;

/// A server, with load as long as it is there.
struct Loaded {
    front: Httpd,
    load: Option<Load>,
}

impl Loaded {
    fn new(front: Httpd) -> Self {
        let load = Some(Load::start(front.port(), "/app/", LIMIT + 1));
        Loaded { front, load }
    }

    fn finished(&self) -> usize {
        self.load.as_ref().map_or(0, Load::finished)
    }

    /// Ends it in this way, and tells its load to end.
    fn end(&mut self, how: impl FnOnce(&mut Httpd)) {
        how(&mut self.front);
        drop(self.load.take());
    }

    fn come(&mut self) {
        self.front.start_again();
        self.front.wait_for_store();
        self.load = Some(Load::start(self.front.port(), "/app/", LIMIT + 1));
    }
}

/// How much of the limit three servers use that stay for a while. Each of them has its part.
fn calm(all: [&Loaded; 3], member: &Backend) -> f64 {
    for one in all {
        one.front.wait_for_fronts(3);
    }
    let load = |one: &Loaded| one.load.as_ref().expect("load").wait_for(CALM / 3);
    all.into_iter().for_each(load);
    let (before, begin) = (all.map(Loaded::finished), member.measured());
    all[0].load.as_ref().expect("load").wait_for(CALM);
    let (after, end) = (all.map(Loaded::finished), member.measured());
    for (before, after) in before.into_iter().zip(after) {
        assert!(after - before > CALM / 2, "one of them starves: {} of {CALM}", after - before);
    }
    (end.work - begin.work).as_secs_f64() / (end.time - begin.time).as_secs_f64()
}

#[test]
fn a_limit_of_thirty_holds_for_a_minute_in_which_servers_come_and_go() {
    let member = Backend::new("a");
    member.slow(WORK);
    let etcd = Etcd::start();
    let lines = pool("app", &[(&member, &format!("max_inflight={LIMIT}"))], "LuaBalancerSet queue=30s");
    let lines = lines + "ProxyPass /app lb://app\n";
    member.measure(LIMIT);
    let begin = Instant::now();
    let [mut one, mut two, mut three] = [0; 3].map(|_| Loaded::new(front(&etcd, "limits", &lines)));
    let mut used = Vec::new();
    let say = |what: &str, used: &mut Vec<f64>, all: [&Loaded; 3]| {
        used.push(calm(all, &member));
        let now = member.measured();
        println!(
            "{:5.1} s: {what}: at most {}, above {LIMIT} for {:?} in all and {:?} in one piece, {:.1} used",
            begin.elapsed().as_secs_f64(),
            now.most,
            now.above,
            now.longest_above,
            used.last().copied().unwrap_or_default(),
        );
        now.most
    };
    let most = say("three have come", &mut used, [&one, &two, &three]);
    assert!(most <= LIMIT + 2, "one more for each that has come: {most}");
    let mut was_cut_off = false;
    for turn in (0..).take_while(|_| begin.elapsed() < MINUTE) {
        let what = match turn % 6 {
            0 => {
                three.end(|front| assert!(front.stop().1.success()));
                one.front.wait_for_fronts(2);
                three.come();
                "one was stopped and started"
            }
            1 => {
                two.end(Httpd::kill);
                one.front.wait_for_fronts(2);
                two.come();
                "one was killed, and started when it was gone for the others"
            }
            2 => {
                three.end(Httpd::kill);
                three.come();
                "one was killed and started at once"
            }
            3 => {
                one.front.graceful();
                "one was restarted"
            }
            4 => {
                two.front.signal_all(Signal::SIGSTOP);
                one.load.as_ref().expect("load").wait_for(CALM);
                two.front.signal_all(Signal::SIGCONT);
                "one stood still for a moment"
            }
            _ => {
                was_cut_off = true;
                two.front.signal_all(Signal::SIGSTOP);
                one.front.wait_for_fronts(2);
                one.load.as_ref().expect("load").wait_for(CALM);
                two.front.signal_all(Signal::SIGCONT);
                "one stood still for longer than its lease"
            }
        };
        let most = say(what, &mut used, [&one, &two, &three]);
        // Its part of before, until it hears that the others have had that.
        let more = if was_cut_off { LIMIT / 3 } else { 1 };
        assert!(most <= LIMIT + 1 + more, "{what}: {most}");
    }
    assert!(was_cut_off, "a minute is long enough for all of these");
    let measure = member.measured();
    println!(
        "in {:?}: at most {}, above {LIMIT} for {:?} in all and {:?} in one piece; {:.1} at once on an average",
        measure.time,
        measure.most,
        measure.above,
        measure.longest_above,
        measure.average()
    );
    assert!(measure.longest_above <= patience(Duration::from_secs(1)), "{measure:?}");
    used.sort_by(f64::total_cmp);
    let median = used[used.len() / 2];
    assert!(median >= 0.8 * LIMIT as f64, "the places are used: {used:?}");
    for one in [&one, &two, &three] {
        one.front.assert_no_crash();
    }
}
