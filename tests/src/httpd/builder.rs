// SPDX-License-Identifier: Apache-2.0
//! The configuration of one test server.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::unistd::Uid;

use super::Httpd;
use super::installed::installed;
use crate::module;
use crate::ports::ReservedPort;

/// The multi-processing module of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mpm {
    /// Threads, an event loop for idle connections.
    Event,
    /// Threads, one per connection.
    Worker,
    /// Processes, one per connection.
    Prefork,
}

impl Mpm {
    fn name(self) -> &'static str {
        match self {
            Self::Event => "mpm_event",
            Self::Worker => "mpm_worker",
            Self::Prefork => "mpm_prefork",
        }
    }
}

/// Where the module's `LoadModule` line stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Absent,
    First,
    After(String),
    Last,
}

/// Modules of every server, in this order.
const MODULES: [&str; 17] = [
    "log_config",
    "unixd",
    "authn_core",
    "authn_file",
    "authz_core",
    "authz_host",
    "authz_user",
    "auth_basic",
    "alias",
    "env",
    "headers",
    "proxy",
    "proxy_http",
    "request",
    "rewrite",
    "setenvif",
    "status",
];

/// A server to be. By default: event, two children of eight threads, the module loaded last.
#[derive(Debug)]
pub struct Builder {
    mpm: Mpm,
    children: usize,
    threads: usize,
    modules: Vec<String>,
    place: Place,
    own_module: Option<PathBuf>,
    log_level: String,
    wrapper: Option<String>,
    account: Option<String>,
    access_log: bool,
    config: String,
    dir: PathBuf,
    port: ReservedPort,
}

/// The answer of `httpd -t`.
#[derive(Debug)]
pub struct ConfigTest {
    /// Whether the configuration is valid.
    pub ok: bool,
    /// The output of httpd.
    pub output: String,
    /// The configuration file.
    pub file: PathBuf,
    /// Its text.
    pub text: String,
}

impl ConfigTest {
    /// The number of the first configuration line that is `text`, or else contains it, from 1.
    pub fn line_of(&self, text: &str) -> usize {
        let mut lines = self.text.lines();
        let line = lines.position(|line| line.trim() == text);
        let line = line.or_else(|| self.text.lines().position(|line| line.contains(text)));
        line.unwrap_or_else(|| panic!("no line with {text:?} in the configuration")) + 1
    }

    /// Panics unless the test failed at the line with `culprit` and its message matches every
    /// pattern.
    pub fn assert_error_at(&self, culprit: &str, patterns: &[&str]) {
        assert!(!self.ok, "configtest accepts {culprit:?}");
        let place = format!("line {} of {}", self.line_of(culprit), self.file.display());
        assert!(self.output.contains(&place), "{culprit:?}: no {place:?} in:\n{}", self.output);
        for pattern in patterns {
            assert!(self.says(pattern), "{culprit:?}: nothing like /{pattern}/ in:\n{}", self.output);
        }
    }

    /// Whether the output matches a pattern, without case.
    pub fn says(&self, pattern: &str) -> bool {
        regex::Regex::new(&format!("(?is){pattern}")).expect("a pattern").is_match(&self.output)
    }
}

impl Builder {
    pub(super) fn new() -> Self {
        Self {
            mpm: Mpm::Event,
            children: 2,
            threads: 8,
            modules: MODULES.iter().map(|name| (*name).to_owned()).collect(),
            place: Place::Last,
            own_module: None,
            log_level: "notice lua_balancer:info".to_owned(),
            wrapper: None,
            account: None,
            access_log: true,
            config: String::new(),
            dir: new_folder(),
            port: ReservedPort::new(),
        }
    }

    /// The MPM.
    pub fn mpm(mut self, mpm: Mpm) -> Self {
        self.mpm = mpm;
        self
    }

    /// How many children run, always (under prefork: at least).
    pub fn children(mut self, children: usize) -> Self {
        self.children = children;
        self
    }

    /// Threads of each child; under prefork, `children × threads` is the limit of processes.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Loads one more module, after the others.
    pub fn module(mut self, name: &str) -> Self {
        self.modules.push(name.to_owned());
        self
    }

    /// Loads one more module, before the others.
    pub fn module_first(mut self, name: &str) -> Self {
        self.modules.insert(0, name.to_owned());
        self
    }

    /// Does not load this module.
    pub fn without(mut self, name: &str) -> Self {
        self.modules.retain(|other| other != name);
        self
    }

    /// Stock httpd: the module under test is not loaded.
    pub fn stock(mut self) -> Self {
        self.place = Place::Absent;
        self.log_level = "notice".to_owned();
        self
    }

    /// Loads the module under test before every other one.
    pub fn balancer_first(mut self) -> Self {
        self.place = Place::First;
        self
    }

    /// Loads the module under test right after this one.
    pub fn balancer_after(mut self, name: &str) -> Self {
        self.place = Place::After(name.to_owned());
        self
    }

    /// Takes this build of the module.
    pub fn with_module(mut self, file: &Path) -> Self {
        self.own_module = Some(file.to_owned());
        self
    }

    /// Takes the module that panics on demand ([`Httpd::fault`]); None where there is no such
    /// build.
    pub fn with_faults(mut self) -> Option<Self> {
        self.own_module = Some(module::with_faults()?);
        Some(self.file(super::FAULTS, ""))
    }

    /// `LogLevel`; default `notice lua_balancer:info`.
    pub fn log_level(mut self, level: &str) -> Self {
        self.log_level = level.to_owned();
        self
    }

    /// Runs httpd under a checker: its program and options. LUA_BALANCER_WRAPPER does so for every
    /// server.
    pub fn under(mut self, wrapper: &str) -> Self {
        self.wrapper = Some(wrapper.to_owned());
        self
    }

    /// Starts httpd as the account of children instead of root, whose the server's folder then is.
    /// Tests that do not run as root cannot have that.
    pub fn without_root(mut self) -> Self {
        let (name, group) = account();
        let owned = Command::new("chown").arg("-R").arg(name).arg(&self.dir).status();
        assert!(owned.expect("run chown").success(), "the server's folder cannot be given to {name}");
        self.account = Some(format!("setpriv --reuid={name} --regid={group} --clear-groups"));
        self
    }

    /// Writes no access log: a benchmark's, whose others write none either.
    pub fn without_access_log(mut self) -> Self {
        self.access_log = false;
        self
    }

    /// Adds configuration text.
    pub fn config(mut self, text: &str) -> Self {
        self.config.push_str(text);
        self.config.push('\n');
        self
    }

    /// Writes a file into the server's folder, which is also ServerRoot.
    pub fn file(self, name: &str, content: &str) -> Self {
        write_file(&self.dir, name, content.as_bytes());
        self
    }

    /// Gives the server an `/etc/hosts` of its own: the file `hosts` of its folder, which a test
    /// may [overwrite in place](Httpd::write_in_place) while it runs. Ask
    /// [`Httpd::own_hosts_denied`] first.
    pub fn hosts(self, text: &str) -> Self {
        self.file(super::HOSTS, text)
    }

    /// A folder in the server's that children may write to, who are another user.
    pub fn open_folder(&self, name: &str) -> PathBuf {
        let folder = self.dir.join(name);
        fs::create_dir(&folder).expect("create a folder");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("open the folder");
        folder
    }

    /// The server's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The server's port.
    pub fn port(&self) -> u16 {
        self.port.port()
    }

    /// Starts the server and waits until it serves.
    pub fn start(self) -> Httpd {
        self.try_start().unwrap_or_else(|log| panic!("httpd does not start:\n{log}"))
    }

    /// Starts the server; an `Err` is what it said when it ended at once.
    pub fn try_start(self) -> Result<Httpd, String> {
        let file = self.write_config();
        // Beside the workers at least the main thread and the listener.
        let tasks = (self.mpm != Mpm::Prefork).then_some((self.children, self.threads + 2));
        let again = self.account.clone().unwrap_or_default();
        let wrapper = self.account.or(self.wrapper).unwrap_or_else(wrapper_of_all);
        let mut httpd = Httpd::launch(self.dir, file, self.port, &wrapper, tasks)?;
        httpd.again = again;
        Ok(httpd)
    }

    /// `httpd -t` on this configuration.
    pub fn configtest(self) -> ConfigTest {
        let file = self.write_config();
        let test = run_configtest(&self.dir, &file);
        let _ = fs::remove_dir_all(&self.dir);
        test
    }

    fn write_config(&self) -> PathBuf {
        let text = self.config_text();
        write_file(&self.dir, "httpd.conf", text.as_bytes());
        self.dir.join("httpd.conf")
    }

    fn config_text(&self) -> String {
        let dir = self.dir.display();
        format!(
            "ServerRoot \"{dir}\"\nServerName localhost\nListen 127.0.0.1:{port}\n{load}{user}\
             DefaultRuntimeDir \"{dir}/run\"\nPidFile \"{dir}/httpd.pid\"\nErrorLog \"{dir}/error.log\"\n\
             LogLevel {level}\nDocumentRoot \"{dir}/htdocs\"\nMaxKeepAliveRequests 0\nKeepAliveTimeout 15\n\
             {access}{mpm}{config}",
            port = self.port(),
            load = self.load_lines(),
            user = user_lines(),
            level = self.log_level,
            access = self.access_log_lines(),
            mpm = self.mpm_lines(),
            config = self.config,
        )
    }

    fn access_log_lines(&self) -> String {
        if !self.access_log {
            return String::new();
        }
        format!("LogFormat \"{ACCESS_FORMAT}\" test\nCustomLog \"{}/access.log\" test\n", self.dir.display())
    }

    fn load_lines(&self) -> String {
        let module = || self.own_module.as_deref().unwrap_or_else(|| module::shared_object());
        let own = || format!("LoadModule lua_balancer_module {}\n", module().display());
        let mut lines = String::new();
        if self.place == Place::First {
            lines.push_str(&own());
        }
        lines.push_str(&installed().load_line(self.mpm.name()));
        for name in &self.modules {
            lines.push_str(&installed().load_line(name));
            if self.place == Place::After(name.clone()) {
                lines.push_str(&own());
            }
        }
        if self.place == Place::Last {
            lines.push_str(&own());
        }
        lines
    }

    /// A fixed number of children: enough spare threads that a dead child is replaced, never so
    /// many that one is ended; room for those that finish after a graceful restart.
    fn mpm_lines(&self) -> String {
        let (children, threads, all) = (self.children, self.threads, self.children * self.threads);
        match self.mpm {
            Mpm::Prefork => format!(
                "StartServers {children}\nMinSpareServers {children}\nMaxSpareServers {all}\n\
                 ServerLimit {all}\nMaxRequestWorkers {all}\n"
            ),
            Mpm::Event | Mpm::Worker => format!(
                "StartServers {children}\nServerLimit {limit}\nThreadLimit {threads}\nThreadsPerChild {threads}\n\
                 MinSpareThreads {all}\nMaxSpareThreads {most}\nMaxRequestWorkers {all}\n",
                limit = children * 4,
                most = all + threads,
            ),
        }
    }
}

/// The fields of [`AccessLine`](super::AccessLine).
const ACCESS_FORMAT: &str = "%P|%>s|%m|%U|%{LB_POOL}e|%{LB_MEMBER}e|%{LB_METHOD}e|%{LB_ATTEMPTS}e|\
                             %{LB_REASON}e|%{LB_SECONDS}e";

/// The wrapper that every httpd runs under.
fn wrapper_of_all() -> String {
    std::env::var("LUA_BALANCER_WRAPPER").unwrap_or_default()
}

pub(super) fn run_configtest(dir: &Path, file: &Path) -> ConfigTest {
    let wrapper = wrapper_of_all();
    // A configuration that hangs httpd is a failure, not a test without end.
    let bound = ["timeout", "-s", "KILL", "60"];
    let mut words: Vec<&OsStr> =
        bound.into_iter().chain(wrapper.split_whitespace()).map(OsStr::new).collect();
    words.push(installed().program.as_os_str());
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).arg("-t").arg("-d").arg(dir).arg("-f").arg(file);
    let output = command.output().expect("run httpd -t");
    let text = [output.stdout, output.stderr].concat();
    ConfigTest {
        ok: output.status.success(),
        output: String::from_utf8_lossy(&text).into_owned(),
        file: file.to_owned(),
        text: fs::read_to_string(file).unwrap_or_default(),
    }
}

/// Writes beside the file and renames, so that no reader ever sees half of it.
pub(super) fn write_file(dir: &Path, name: &str, content: &[u8]) {
    static COUNTER: AtomicUsize = AtomicUsize::new(0);
    let path = dir.join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("create the file's folder");
    let beside = dir.join(format!(".new-{}", COUNTER.fetch_add(1, Ordering::Relaxed)));
    fs::write(&beside, content).expect("write a file");
    fs::rename(&beside, &path).expect("rename a file");
}

fn new_folder() -> PathBuf {
    static COUNTER: AtomicUsize = AtomicUsize::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("lua-balancer-test-{}-{number}", std::process::id()));
    let _ = fs::remove_dir_all(&dir);
    for folder in [dir.clone(), dir.join("htdocs"), dir.join("run")] {
        fs::create_dir_all(&folder).expect("create the server's folder");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("open the server's folder");
    }
    dir
}

/// Root must give up its rights: to the first of the usual accounts that exists.
fn user_lines() -> String {
    if !Uid::effective().is_root() {
        return String::new();
    }
    let (user, group) = account();
    format!("User {user}\nGroup {group}\n")
}

/// User and group of children, where the tests run as root.
pub fn account() -> (&'static str, &'static str) {
    let exists = |file: &str, name: &str| {
        fs::read_to_string(file).unwrap_or_default().lines().any(|line| line.split(':').next() == Some(name))
    };
    let pick = |file: &str, names: [&'static str; 4]| names.into_iter().find(|name| exists(file, name));
    let user = pick("/etc/passwd", ["www-data", "apache", "daemon", "nobody"]).expect("an account for httpd");
    let group = pick("/etc/group", ["www-data", "apache", "daemon", "nogroup"]).expect("a group for httpd");
    (user, group)
}
