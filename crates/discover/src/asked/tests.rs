// SPDX-License-Identifier: Apache-2.0
use super::*;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Instant;

use balance::settings::{ConsulPlace, DnsPlace, DnsRecords, EtcdPlace, HttpPlace, KubernetesPlace, LuaPlace};

use crate::consul::ConsulSource;
use crate::dns::DnsSource;
use crate::dns::fake::{Fake, FakeRecord};
use crate::etcd::EtcdSource;
use crate::http::HttpSource;
use crate::http::tests::{answer, serve};
use crate::kubernetes::KubernetesSource;
use crate::lua::LuaSource;
use crate::{ListingRules, Lookout, PolledSource, SourcePlan};

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
            match found {
                Ok(count) => Look::List(Arc::new(list(count)), self.pause),
                Err(why) => Look::Failed(why.to_owned()),
            }
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
                Look::Failed("slow".to_owned())
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

/// Sources of all kinds that have nothing to give, and how often their servers were asked.
struct Troubled {
    sources: Vec<(&'static str, MakeSource)>,
    name_server: Fake,
    web_servers: Vec<(&'static str, Receiver<String>)>,
}

fn troubled() -> Troubled {
    const RULES: ListingRules = ListingRules { skip_invalid: false, max: 10, misfit: |_| None };
    let name_server = Fake::with(&[
        ("_http._tcp.app.internal", FakeRecord::Srv(60, [1, 1, 0], "a.internal")),
        ("a.internal", FakeRecord::A(60, [192, 0, 2, 1])),
    ]);
    let refused: SocketAddr = "127.0.0.1:1".parse().expect("an address");
    let mut web_servers = Vec::new();
    let mut server = |kind, body: &str| {
        let (url, heads) =
            serve((0..1000).map(|_| answer("X-Consul-Index: 5\r\n", body.as_bytes())).collect());
        web_servers.push((kind, heads));
        url.trim_end_matches("/app.json?full=1").to_owned()
    };
    let name = |resolver, records, name: &str| {
        let place = DnsPlace { records, resolver: Some(resolver), ..DnsPlace::of(name.to_owned()) };
        Box::new(move || Box::new(DnsSource::new(place, RULES)) as Box<dyn PolledSource>)
    };
    let agent = |url: String| {
        let place = ConsulPlace::of(format!("{url}/app"));
        Box::new(move || Box::new(ConsulSource::new(place, RULES, Path::new("/"))) as Box<dyn PolledSource>)
    };
    let cluster = |url: String| {
        let place =
            KubernetesPlace { server: Some(url), ..KubernetesPlace::of("shop/app:mistyped".to_owned()) };
        Box::new(move || {
            Box::new(KubernetesSource::new(place, RULES, Path::new("/"))) as Box<dyn PolledSource>
        })
    };
    let slices = r#"{"metadata":{"resourceVersion":"7"},"items":[{"metadata":{"name":"s","resourceVersion":"7"},
        "addressType":"IPv4","ports":[{"name":"http","port":80,"protocol":"TCP"}],
        "endpoints":[{"addresses":["192.0.2.1"]}]}]}"#;
    let page = HttpPlace::of(format!("{}/", server("a wrong list of the web", "[7]")));
    let store = EtcdPlace::of(format!("http://{refused}/lb"));
    let script = LuaPlace::of("discover.lua".to_owned());
    let sources: Vec<(&str, MakeSource)> = vec![
        ("no server of names", name(refused, DnsRecords::A, "app.internal:80")),
        ("a wrong record", name(name_server.at, DnsRecords::Srv, "_http._tcp.app.internal")),
        ("no agent", agent(format!("http://{refused}"))),
        ("a wrong instance", agent(server("a wrong instance", r#"[{"Service":{"Address":"a","Port":0}}]"#))),
        ("no cluster", cluster(format!("http://{refused}"))),
        ("a mistyped port", cluster(server("a mistyped port", slices))),
        ("a wrong list of the web", Box::new(|| Box::new(HttpSource::new(page, RULES, Path::new("/"))))),
        ("no etcd", Box::new(move || Box::new(EtcdSource::new(&store, RULES, Path::new("/"))))),
        ("a lost script", Box::new(|| Box::new(LuaSource::new(script, RULES, Arc::new(drop))))),
    ];
    Troubled { sources, name_server, web_servers }
}

#[test]
fn sources_of_every_kind_are_left_alone_for_longer_and_longer_while_they_fail() {
    let Troubled { sources, name_server, web_servers } = troubled();
    let (names, plans): (Vec<_>, Vec<_>) =
        sources.into_iter().map(|(name, make)| (name, SourcePlan::Asked(make))).unzip();
    let began = Instant::now();
    let search = Lookout::start(plans, || {}, &mut |_, job| {
        std::thread::spawn(job);
        true
    });
    let search = search.expect("a search");
    let mut looks = vec![0; names.len()];
    while looks.iter().any(|looks| *looks < 3) {
        let Sighting { source, found, .. } = next(&search);
        assert!(found.is_err(), "{}", names[source]);
        looks[source] += 1;
        let least = match looks[source] {
            1 => 0.0,
            2 => 0.75,
            3 => 2.25,
            _ => 5.25,
        };
        let passed = began.elapsed().as_secs_f64();
        assert!(passed >= least, "{}: look {} after {passed} s", names[source], looks[source]);
    }
    drop(search);
    // A look at a name asks for the service, and twice for its target.
    assert!(name_server.questions().len() <= 3 * 5, "{:?}", name_server.questions());
    for (kind, heads) in web_servers {
        assert!((3..=4).contains(&heads.try_iter().count()), "{kind}");
    }
}

#[test]
fn a_wrong_list_of_a_source_that_waits_by_itself_is_mended_soon() {
    struct Watched(usize);
    impl PolledSource for Watched {
        fn look(&mut self) -> Pin<Box<dyn Future<Output = Look> + '_>> {
            self.0 += 1;
            Box::pin(std::future::ready(match self.0 {
                count if count < 6 => Look::Unmended("wrong".to_owned()),
                _ => Look::List(Arc::default(), LONG),
            }))
        }
    }
    let began = Instant::now();
    let plans = vec![SourcePlan::Asked(Box::new(|| Box::new(Watched(0))))];
    let search = Lookout::start(plans, || {}, &mut |_, job| {
        std::thread::spawn(job);
        true
    });
    let search = search.expect("a search");
    assert!((0..5).all(|_| next(&search).found.is_err()) && next(&search).found.is_ok());
    assert!(began.elapsed() >= FLOOR * 5, "never without a pause");
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
