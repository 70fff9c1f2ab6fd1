// SPDX-License-Identifier: Apache-2.0
//! Three nodes of an etcd, each in a network namespace of its own: one of them dies, and one is cut
//! off from the others.

use std::process::{Child, Command, Stdio};

use server_tests::{Backend, Load};

use super::*;

/// Longest time until nodes have agreed on a leader, and servers have found it.
const AGREED: Duration = Duration::from_secs(60);

/// The nodes, and the bridge that joins them with this host. All of it goes with the value.
struct Nodes {
    /// The begin of the names of all devices and namespaces.
    name: String,
    folder: std::path::PathBuf,
    processes: [Option<Child>; 3],
}

fn ip(arguments: &str) -> Result<(), String> {
    let output = Command::new("ip").args(arguments.split(' ')).output().map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("ip {arguments}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

impl Nodes {
    /// Err: the system does not let namespaces be made.
    fn start() -> Result<Self, String> {
        let name = format!("lbo{}", std::process::id());
        let folder = std::env::temp_dir().join(format!("lua-balancer-apart-{name}"));
        std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let mut nodes = Nodes { name, folder, processes: [None, None, None] };
        nodes.join()?;
        (0..3).for_each(|at| nodes.run(at));
        for at in 0..3 {
            wait_until("a node to answer", AGREED, || nodes.control(at, &["get", "/"]).is_some());
        }
        Ok(nodes)
    }

    fn join(&self) -> Result<(), String> {
        let name = &self.name;
        ip(&format!("link add {name} type bridge"))?;
        ip(&format!("addr add {}/24 dev {name}", self.address(253)))?;
        ip(&format!("link set {name} up"))?;
        for at in 0..3 {
            ip(&format!("netns add {name}-{at}"))?;
            ip(&format!("link add {name}v{at} type veth peer name eth0 netns {name}-{at}"))?;
            ip(&format!("link set {name}v{at} master {name} up"))?;
            ip(&format!("-n {name}-{at} link set lo up"))?;
            ip(&format!("-n {name}-{at} addr add {}/24 dev eth0", self.address(at)))?;
            ip(&format!("-n {name}-{at} link set eth0 up"))?;
        }
        Ok(())
    }

    /// Of a node, in a network that other runs of this test do not have.
    fn address(&self, at: usize) -> String {
        let number = std::process::id() % 60_000;
        format!("198.{}.{}.{}", 18 + number / 250 % 2, number % 250, at + 1)
    }

    fn endpoint(&self, at: usize) -> String {
        format!("http://{}:2379", self.address(at))
    }

    fn run(&mut self, at: usize) {
        let peer = |at: usize| format!("http://{}:2380", self.address(at));
        let all: Vec<String> = (0..3).map(|at| format!("n{at}={}", peer(at))).collect();
        let log = std::fs::File::create(self.folder.join(format!("log{at}"))).expect("a log");
        let process = Command::new("ip")
            .current_dir(&self.folder)
            .args(["netns", "exec", &format!("{}-{at}", self.name), "etcd", "--name", &format!("n{at}")])
            .args(["--data-dir", &format!("data{at}"), "--log-level", "error"])
            .args(["--listen-client-urls", &self.endpoint(at), "--advertise-client-urls", &self.endpoint(at)])
            .args(["--listen-peer-urls", &peer(at), "--initial-advertise-peer-urls", &peer(at)])
            .arg(format!("--initial-cluster={}", all.join(",")))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.processes[at] = Some(process.expect("etcd runs"));
    }

    /// The text that etcdctl writes; None: the node has not done it.
    fn control(&self, at: usize, arguments: &[&str]) -> Option<String> {
        let output = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args([&format!("--endpoints={}", self.endpoint(at)), "--command-timeout=2s"])
            .args(arguments)
            .output()
            .expect("etcdctl runs");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn leads(&self, at: usize) -> bool {
        let text = self.control(at, &["endpoint", "status", "-w", "json"]).unwrap_or_default();
        let document: Value = serde_json::from_str(&text).unwrap_or_default();
        let status = &document[0]["Status"];
        !status["leader"].is_null() && status["leader"] == status["header"]["member_id"]
    }

    fn leader(&self) -> usize {
        server_tests::eventually("a leader", AGREED, || (0..3).find(|at| self.leads(*at)))
    }

    fn kill(&mut self, at: usize) {
        if let Some(mut process) = self.processes[at].take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Has the first node and the others not hear each other any more, or again.
    fn cut(&self, is_cut: bool) {
        let word = if is_cut { "add" } else { "del" };
        for other in 1..3 {
            let to = self.address(other);
            ip(&format!("-n {}-0 route {word} blackhole {to}/32", self.name)).expect("a route");
        }
    }

    fn stored(&self, at: usize, name: &str) -> Value {
        let key = format!("/lb/test/orders/app/{name}");
        let text = self.control(at, &["get", "--print-value-only", &key]).unwrap_or_default();
        serde_json::from_str(text.trim()).unwrap_or_default()
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        (0..3).for_each(|at| self.kill(at));
        for at in 0..3 {
            let _ = ip(&format!("netns del {}-{at}", self.name));
            // It goes with its namespace, unless it never came there.
            let _ = ip(&format!("link del {}v{at}", self.name));
        }
        let _ = ip(&format!("link del {}", self.name));
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn a_lost_leader_and_a_node_that_is_cut_off_cost_no_request_and_one_order_holds_in_the_end() {
    let mut nodes = match Nodes::start() {
        Ok(nodes) => nodes,
        Err(why) => return eprintln!("skipped: no network namespaces here: {why}"),
    };
    let [a, b] = Backend::named(["a", "b"]);
    let lines = line(&a) + &line(&b);
    // The one knows the first node alone, the other all of them.
    let all: Vec<String> = (0..3).map(|at| nodes.endpoint(at)).collect();
    let (few, many) = (front(&nodes.endpoint(0), &lines), front(&all.join(","), &lines));
    let loads = [&few, &many].map(|front| Load::start(front.port(), "/app/", 1));
    assert_eq!(patch(&few, "a", r#"{"weight":2}"#).status, 200);
    wait_for(&many, "a", "weight", 2);
    let is_taken = |front: &Httpd, name: &str, body: &str| {
        wait_until(&format!("{body} of {name} to be taken"), AGREED, || {
            let status = patch(front, name, body).status;
            assert!([200, 409, 412, 503].contains(&status), "{status}");
            status == 200
        });
    };

    let lost = nodes.leader();
    nodes.kill(lost);
    is_taken(&many, "a", r#"{"weight":3}"#);
    nodes.run(lost);
    wait_until("the node to be back", AGREED, || nodes.control(lost, &["get", "/"]).is_some());
    wait_until("the first node to be asked", AGREED, || member(&few, "a")["weight"] == 3);

    nodes.cut(true);
    wait_until("the first node to be alone", AGREED, || number(&few, "luabalancer_store_up") == Some(0));
    let answer = patch(&few, "a", r#"{"weight":9}"#);
    assert_eq!(answer.status, 503, "{}", answer.text());
    is_taken(&many, "a", r#"{"weight":4}"#);
    assert_eq!(member(&few, "a")["weight"], 3, "it has heard nothing");
    // One is older than that of the others, and one is of a member that they have left alone.
    assert_eq!(patch(&few, "a?local=1", r#"{"weight":7}"#).status, 200);
    assert_eq!(patch(&few, "b?local=1", r#"{"admin":"drain"}"#).status, 200);
    loads.iter().for_each(|load| load.wait_for(100));

    nodes.cut(false);
    for front in [&few, &many] {
        let here = || member(front, "a")["weight"] == 4 && member(front, "b")["admin"] == "drain";
        wait_until("one order everywhere", AGREED, here);
        assert_eq!(member(front, "a")["local"], Value::Null);
    }
    for at in 0..3 {
        wait_until("the nodes to agree", AGREED, || {
            (&nodes.stored(at, "a")["weight"], &nodes.stored(at, "b")["admin"])
                == (&4.0.into(), &"drain".into())
        });
    }
    loads.into_iter().for_each(|load| load.stop().assert_all_ok());
    [&few, &many].iter().for_each(|front| front.assert_no_crash());
}
