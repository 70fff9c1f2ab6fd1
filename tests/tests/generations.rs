//! Children of an older configuration serve what they have; what they need stays while they do.

use std::thread;
use std::time::Duration;

use server_tests::{Backend, Httpd, Mpm, pool, wait_until};

const SOON: Duration = Duration::from_secs(15);

#[test]
fn a_child_that_lost_its_place_to_a_new_one_keeps_its_counts() {
    let a = Backend::new("a");
    let mut httpd = Httpd::builder()
        .mpm(Mpm::Worker)
        .with_member_states()
        .config("ServerLimit 2")
        .config(&pool("app", &[(&a, "")], ""))
        .config("ProxyPass /app lb://app")
        .log_level("debug proxy:error")
        .start();
    a.hang();
    let client = httpd.client().timeout(Duration::from_secs(60));
    let request = thread::spawn(move || client.strict().get("/app/"));
    wait_until("the request to hang", SOON, || a.in_flight() == 1);
    httpd.graceful();
    httpd.wait_for_log("taking over scoreboard slot from");
    wait_until("both new children to answer", SOON, || httpd.client().get("/nothing").status == 404);
    assert_eq!(httpd.inflight("app"), 1);
    a.answer();
    assert_eq!(request.join().expect("the client").backend(), "a");
    wait_until("nothing in flight", SOON, || httpd.inflight("app") == 0);
}
