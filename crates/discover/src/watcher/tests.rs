// SPDX-License-Identifier: Apache-2.0
use super::*;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};

/// A watcher of one file on a thread of its own.
struct Running {
    bell: Bell,
    told: Receiver<Sighting>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// A look is made within two seconds; tests wait no longer than this for something to be told.
const LONG: Duration = Duration::from_secs(20);

impl Running {
    fn of(path: &Path) -> Self {
        let bell = Bell::new().expect("a descriptor");
        let rules = ListingRules { skip_invalid: false, max: 1000, misfit: |_| None };
        let source = SourcePath { path: path.to_owned(), rules, settle: Duration::from_millis(200) };
        let watcher = Watcher::new(vec![(0, source)], bell.clone());
        let (send, told) = channel();
        let thread = std::thread::spawn(move || watcher.run(&mut |sighting| drop(send.send(sighting))));
        Running { bell, told, thread: Some(thread) }
    }

    /// The next sighting that fits.
    fn await_told(&self, fits: impl Fn(&Sighting) -> bool) -> Sighting {
        let until = Instant::now() + LONG;
        loop {
            let rest = until.saturating_duration_since(Instant::now());
            let sighting = self.told.recv_timeout(rest).expect("something that fits, in time");
            if fits(&sighting) {
                return sighting;
            }
        }
    }

    /// Waits until the list has these hosts. Returns how long it took.
    fn await_hosts(&self, hosts: &[&str]) -> Duration {
        let began = Instant::now();
        self.await_told(|sighting| {
            sighting.found.as_ref().is_ok_and(|listed| {
                let found: Vec<&str> = listed.members.iter().map(|spec| spec.url.host.as_str()).collect();
                found == hosts
            })
        });
        began.elapsed()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.bell.end();
        self.thread.take().map(std::thread::JoinHandle::join);
    }
}

fn list(hosts: &[&str]) -> String {
    let targets: Vec<String> = hosts.iter().map(|host| format!("\"{host}:1\"")).collect();
    format!("[{{\"targets\":[{}]}}]", targets.join(","))
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

#[test]
fn a_list_is_seen_whichever_way_it_is_written() {
    let folder = folder();
    let path = folder.path().join("app.json");
    fs::write(&path, list(&["a"])).expect("written");
    let running = Running::of(&path);
    running.await_hosts(&["a"]);
    fs::write(&path, list(&["b"])).expect("written in place");
    let in_place = running.await_hosts(&["b"]);
    fs::write(folder.path().join("new"), list(&["c"])).expect("written");
    fs::rename(folder.path().join("new"), &path).expect("renamed");
    let renamed = running.await_hosts(&["c"]);
    fs::remove_file(&path).expect("removed");
    running.await_told(|sighting| sighting.found.as_ref().is_err_and(|why| why.contains("No such file")));
    fs::write(&path, list(&["d"])).expect("written");
    let made = running.await_hosts(&["d"]);
    // Two seconds is what looks alone would take.
    let all = [in_place, renamed, made];
    assert!(all.iter().all(|took| *took < Duration::from_millis(1900)), "{all:?}");
}

#[test]
fn a_config_map_is_seen_when_its_link_is_swapped() {
    let folder = folder();
    let root = folder.path();
    let version = |name: &str, hosts: &[&str]| {
        fs::create_dir(root.join(name)).expect("a folder");
        fs::write(root.join(name).join("app.json"), list(hosts)).expect("written");
    };
    version("..v1", &["a"]);
    symlink("..v1", root.join("..data")).expect("a link");
    symlink("..data/app.json", root.join("app.json")).expect("a link");
    let running = Running::of(&root.join("app.json"));
    running.await_hosts(&["a"]);
    for (name, host) in [("..v2", "b"), ("..v3", "c")] {
        version(name, &[host]);
        symlink(name, root.join("..data_tmp")).expect("a link");
        fs::rename(root.join("..data_tmp"), root.join("..data")).expect("swapped");
        let took = running.await_hosts(&[host]);
        assert!(took < Duration::from_millis(1900), "{took:?}");
    }
}

#[test]
fn a_list_that_is_being_written_is_no_failure() {
    let folder = folder();
    let path = folder.path().join("app.json");
    fs::write(&path, list(&["a"])).expect("written");
    let running = Running::of(&path);
    running.await_hosts(&["a"]);
    let (text, mut file) = (list(&["b", "c"]), fs::File::create(&path).expect("opened"));
    for piece in text.as_bytes().chunks(8) {
        file.write_all(piece).expect("written");
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(file);
    let seen = running.await_told(|sighting| sighting.is_new || sighting.found.is_err());
    assert_eq!(seen.found.map(|listed| listed.members.len()), Ok(2));
}

#[test]
fn a_path_that_is_not_a_file_is_refused_and_waited_for() {
    let folder = folder();
    let path = folder.path().join("later/app.json");
    let running = Running::of(&path);
    running.await_told(|sighting| sighting.found.is_err());
    fs::create_dir_all(&path).expect("a folder of that name");
    running
        .await_told(|sighting| sighting.found.as_ref().is_err_and(|why| why.contains("not a regular file")));
    fs::remove_dir(&path).expect("removed");
    fs::write(&path, "").expect("written");
    running.await_told(|sighting| sighting.found.as_ref().is_err_and(|why| why.contains("it is empty")));
    fs::write(&path, "http://a:1\n").expect("written");
    running.await_hosts(&["a"]);
    fs::write(&path, list(&["a"])).expect("written");
    running.await_hosts(&["a"]);
}

#[test]
fn a_list_that_is_written_line_by_line_is_read_when_it_is_whole() {
    let folder = folder();
    let path = folder.path().join("app.txt");
    fs::write(&path, "http://a:1\nhttp://b:1\nhttp://c:1\n").expect("written");
    let running = Running::of(&path);
    running.await_hosts(&["a", "b", "c"]);
    let seen_is = |running: &Running, hosts: usize| {
        let seen = running.await_told(|sighting| sighting.is_new || sighting.found.is_err());
        assert_eq!(seen.found.map(|listed| listed.members.len()), Ok(hosts));
    };
    // By one who has it open,
    let mut file = fs::File::create(&path).expect("opened");
    for host in ["d", "e", "f", "g"] {
        writeln!(file, "http://{host}:1").expect("written");
        std::thread::sleep(Duration::from_millis(400));
    }
    drop(file);
    seen_is(&running, 4);
    // and by one who opens it for each line.
    fs::remove_file(&path).expect("removed");
    for host in ["d", "e", "f", "g", "h"] {
        let file = fs::OpenOptions::new().create(true).append(true).open(&path);
        writeln!(file.expect("opened"), "http://{host}:1").expect("written");
        std::thread::sleep(Duration::from_millis(50));
    }
    seen_is(&running, 5);
}

#[test]
fn a_replaced_folder_is_seen_within_a_second() {
    let folder = folder();
    let root = folder.path();
    for (name, host) in [("lists", "a"), ("next", "b")] {
        fs::create_dir(root.join(name)).expect("a folder");
        fs::write(root.join(name).join("app.json"), list(&[host])).expect("written");
    }
    let running = Running::of(&root.join("lists/app.json"));
    running.await_hosts(&["a"]);
    fs::rename(root.join("lists"), root.join("before")).expect("moved away");
    fs::rename(root.join("next"), root.join("lists")).expect("in its place");
    let took = running.await_hosts(&["b"]);
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn a_storm_of_renames_does_not_make_a_storm_of_looks() {
    let folder = folder();
    let path = folder.path().join("app.json");
    fs::write(&path, list(&["a"])).expect("written");
    let running = Running::of(&path);
    running.await_hosts(&["a"]);
    let began = Instant::now();
    let mut renames = 0;
    while began.elapsed() < Duration::from_millis(500) {
        let mut file = fs::File::create(folder.path().join("new")).expect("made");
        file.write_all(list(&["b"]).as_bytes()).expect("written");
        // An old file is read at once.
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).expect("its time");
        fs::rename(folder.path().join("new"), &path).expect("renamed");
        renames += 1;
    }
    running.await_hosts(&["b"]);
    let looks = running.told.try_iter().count();
    assert!(looks < 10 && renames > 20, "{looks} looks at {renames} renames");
}

#[test]
fn a_refresh_looks_at_once() {
    let folder = folder();
    let path = folder.path().join("app.json");
    fs::write(&path, list(&["a"])).expect("written");
    let running = Running::of(&path);
    running.await_hosts(&["a"]);
    for _ in 0..3 {
        let began = Instant::now();
        running.bell.refresh();
        let seen = running.await_told(|_| true);
        assert!(!seen.is_new);
        assert!(began.elapsed() < Duration::from_millis(1900));
    }
}
