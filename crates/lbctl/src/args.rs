// SPDX-License-Identifier: Apache-2.0
//! The words of the command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::live::args::{
    AddArgs, DecisionsArgs, DisableArgs, DiscoveryArgs, DrainArgs, EnableArgs, EventsArgs, MembersArgs,
    Reach, RemoveArgs, ResetArgs, RolloutArgs, ScriptsArgs, StateArgs, StatusArgs, TopArgs, WaitArgs,
    WeightArgs,
};
use crate::live_examples::*;
use crate::out::Form;

/// Tests scripts and explains decisions of mod_lua_balancer without a server; shows and changes
/// running ones.
#[derive(Debug, Parser)]
#[command(name = "lbctl", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    /// Form of output.
    #[arg(short = 'o', long = "output", value_enum, default_value = "table", global = true)]
    pub form: Form,
    /// The same as -o json.
    #[arg(long, global = true)]
    pub json: bool,
    /// The verb.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Says where options of servers stand, if one of them stood before the verb.
pub fn with_hint(mut error: clap::Error) -> clap::Error {
    const OF_SERVERS: [&str; 5] = ["--socket", "--url", "--netrc", "--ca", "--user"];
    if let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg)
        && OF_SERVERS.contains(&option.as_str())
    {
        let tip = StyledStr::from(format!("options of servers stand behind the verb: lbctl VERB {option} …"));
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    }
    error
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Runs tests of scripts (*_test.lua): virtual clock, seeded draws.
    #[command(after_help = TEST_EXAMPLES)]
    Test(TestArgs),
    /// Tells in words where a request would go, and why.
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(ExplainArgs),
    /// Tells what a script or method would have done with the traffic of a log.
    #[command(after_help = SIMULATE_EXAMPLES)]
    Simulate(SimulateArgs),
    /// Writes a configuration of another balancer as pools.
    #[command(after_help = CONVERT_EXAMPLES)]
    Convert(ConvertArgs),
    /// Names lines of a configuration that are legal and probably wrong.
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// Shows servers with their pools and members.
    #[command(after_help = STATUS)]
    Status(StatusArgs),
    /// Shows the members of a pool.
    #[command(after_help = MEMBERS)]
    Members(MembersArgs),
    /// Adds a member.
    #[command(after_help = ADD)]
    Add(AddArgs),
    /// Removes members.
    #[command(after_help = REMOVE)]
    Remove(RemoveArgs),
    /// Changes weights.
    #[command(after_help = WEIGHT)]
    Weight(WeightArgs),
    /// Lets members finish their requests; sessions stay, new ones go elsewhere.
    #[command(after_help = DRAIN)]
    Drain(DrainArgs),
    /// Lets members serve again.
    #[command(after_help = ENABLE)]
    Enable(EnableArgs),
    /// Takes members out.
    #[command(after_help = DISABLE)]
    Disable(DisableArgs),
    /// Ends ejections, and counts failures from 0.
    #[command(after_help = RESET)]
    Reset(ResetArgs),
    /// Waits until a condition holds.
    #[command(after_help = WAIT)]
    Wait(WaitArgs),
    /// Drains member after member, runs a command for each, and watches the pool.
    #[command(after_help = ROLLOUT)]
    Rollout(RolloutArgs),
    /// Shows servers live, with keys to steer members.
    #[command(after_help = TOP)]
    Top(TopArgs),
    /// Shows the events of a server.
    #[command(after_help = EVENTS)]
    Events(EventsArgs),
    /// Shows where requests went, and why.
    #[command(after_help = DECISIONS)]
    Decisions(DecisionsArgs),
    /// Shows scripts with their counts and errors.
    #[command(after_help = SCRIPTS)]
    Scripts(ScriptsArgs),
    /// Shows the sources that find members.
    #[command(after_help = DISCOVERY)]
    Discovery(DiscoveryArgs),
    /// Shows the state file, which keeps orders over a stop of the server.
    #[command(after_help = STATE)]
    State(StateArgs),
    /// Writes completions for a shell.
    #[command(after_help = "Example:\n  lbctl completions bash > /etc/bash_completion.d/lbctl")]
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Writes the manual pages into a folder.
    #[command(after_help = "Example:\n  lbctl man /usr/local/share/man/man1")]
    Man {
        /// The folder.
        folder: PathBuf,
    },
}

/// Whether the words of a wrong call ask for documents.
pub fn wants_json(words: impl Iterator<Item = OsString>) -> bool {
    let words: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    let own = words.split(|word| word == "--").next().unwrap_or_default();
    let follows =
        own.windows(2).any(|pair| matches!(pair[0].as_str(), "-o" | "--output") && pair[1] == "json");
    follows
        || own.iter().any(|word| matches!(word.as_str(), "--json" | "-ojson" | "-o=json" | "--output=json"))
}

/// The reason that a wrong call is refused for, in one line.
pub fn first_words(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "there is no verb; expected one of those of lbctl --help".into();
    }
    let text = error.render().to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    first.trim_start_matches("error: ").split_whitespace().collect::<Vec<_>>().join(" ")
}

const TEST_EXAMPLES: &str = "Examples:
  lbctl test                                  all *_test.lua below this folder
  lbctl test lua/balancer_test.lua
  lbctl test --filter beta --watch lua
  lbctl test --coverage --fail-under 90 --junit results.xml lua

Exit: 0 all passed, 1 something failed or too little is covered, 2 called in a wrong way.";

const EXPLAIN_EXAMPLES: &str = "Examples:
  lbctl explain -H 'Cookie: beta=1' http://www.example.org/
  lbctl explain --url https://lb1.example.org/balancer --url https://lb2.example.org/balancer --netrc /cart
  lbctl explain --config /etc/apache2/apache2.conf http://www.example.org/api/x
  lbctl explain --config pools.conf --script balancer.lua -H 'Cookie: beta=1' /
  lbctl explain --config httpd.conf --client 192.0.2.7 --user ada -X POST /orders

Without --config and --script, a running server explains; nothing is sent anywhere. --user is the user
of the request; a name for the server stands in --url, or in a .netrc.
Exit: 0 a member or target is chosen, or the request is httpd's; 1 nobody serves it; 2 called in a wrong way,
3 refused by the server, 4 no server there.";

const SIMULATE_EXAMPLES: &str = "Examples:
  lbctl simulate --config httpd.conf access.log access.log.1.gz
  lbctl simulate --config pools.conf --pool app --method least_connections access.log
  lbctl simulate --config pools.conf --workers 150 access.log
  lbctl simulate --config pools.conf --script new.lua --compare old.lua access.log
  lbctl simulate --config pools.conf --down b@14:10+60s --slow a=10x@14:00+5m --html out.html access.log
  zcat access.log.gz | lbctl simulate --config httpd.conf --against-log --log-format '%h %t \"%r\" %D %{LB_MEMBER}e' -

Exit: 0 done, 1 no line could be read or a script was given up, 2 called in a wrong way.";

const CONVERT_EXAMPLES: &str = "Examples:
  lbctl convert balancer /etc/apache2/sites-enabled/app.conf
  lbctl convert nginx /etc/nginx/nginx.conf > pools.conf
  lbctl convert haproxy /etc/haproxy/haproxy.cfg
  nginx -T | lbctl convert nginx -

Whatever has no counterpart becomes a comment.
Exit: 0 done, 1 there is no pool in it, 2 called in a wrong way.";

const CHECK_EXAMPLES: &str = "Examples:
  lbctl check
  lbctl check /etc/apache2/apache2.conf --reach
  lbctl check --httpd /usr/local/apache2/bin/httpd httpd.conf -o json
  lbctl check --without-httpd pools.conf

httpd reads the file first (httpd -t), with the module: apache2ctl, httpd, apache2 or apachectl.
Exit: 0 nothing was found, 1 something was, 2 called in a wrong way, 4 there is no httpd.";

/// `lbctl test`.
#[derive(Debug, Clone, Args)]
pub struct TestArgs {
    /// Files, or folders that are looked through for *_test.lua.
    #[arg(default_value = ".")]
    pub paths: Vec<PathBuf>,
    /// Only cases whose name holds this text.
    #[arg(long, value_name = "TEXT")]
    pub filter: Option<String>,
    /// Tells which lines of the scripts under test ran; with a file, writes lcov's format there.
    #[arg(long, value_name = "LCOV", require_equals = true)]
    pub coverage: Option<Option<PathBuf>>,
    /// Fails when less than this percentage of the lines ran.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub fail_under: Option<u8>,
    /// Writes the results as JUnit's XML.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Runs the tests again whenever a file changes.
    #[arg(long)]
    pub watch: bool,
}

/// `lbctl explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The request's URL, or its path.
    pub url: String,
    /// Its method.
    #[arg(short = 'X', long = "method", value_name = "METHOD", default_value = "GET")]
    pub method: String,
    /// A header, as 'Name: value'.
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    pub headers: Vec<String>,
    /// The client's address.
    #[arg(long, value_name = "IP")]
    pub client: Option<std::net::IpAddr>,
    /// The user that httpd has authenticated.
    #[arg(long)]
    pub user: Option<String>,
    /// The source of the decision; without a configuration or script, a running server.
    #[command(flatten)]
    pub from: From,
    /// The servers.
    #[command(flatten)]
    pub reach: Reach,
}

/// `lbctl simulate`.
#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// Logs, packed or not, in order; - is standard input.
    #[arg(required = true)]
    pub logs: Vec<PathBuf>,
    /// The source of decisions.
    #[command(flatten)]
    pub from: From,
    /// Sends every request to this pool.
    #[arg(long)]
    pub pool: Option<String>,
    /// Another method for the pools, as LuaBalancerMethod says it.
    #[arg(long)]
    pub method: Option<String>,
    /// Format of the log, as httpd has it; by default common, combined, vhost_combined or JSON.
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// How long members take where the log does not say: 20ms, lognormal:20ms,0.8 and the like.
    #[arg(long, default_value = "lognormal:20ms,0.8")]
    pub service: String,
    /// How many requests httpd serves at once; the others wait in front of it. By default what the
    /// configuration says (MaxRequestWorkers), else as many as there are; 0: as many as there are.
    #[arg(long, value_name = "N")]
    pub workers: Option<u32>,
    /// A member is slow: MEMBER=10x@14:00+5m (UTC).
    #[arg(long)]
    pub slow: Vec<String>,
    /// A member takes no connections: MEMBER@14:10+60s.
    #[arg(long)]
    pub down: Vec<String>,
    /// A member comes: MEMBER=URL@15:00.
    #[arg(long)]
    pub add: Vec<String>,
    /// Another script: tells which requests would go elsewhere.
    #[arg(long, value_name = "FILE[:FUNCTION]")]
    pub compare: Option<String>,
    /// Compares with the members that the log names (LB_MEMBER).
    #[arg(long, conflicts_with = "compare")]
    pub against_log: bool,
    /// Writes pictures into a folder.
    #[arg(long, value_name = "FOLDER")]
    pub svg: Option<PathBuf>,
    /// Writes a page with everything.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// The source of decisions.
#[derive(Debug, Clone, Args)]
pub struct From {
    /// httpd's configuration, or a file with pools alone.
    #[arg(long, value_name = "HTTPD.CONF")]
    pub config: Option<PathBuf>,
    /// A script, and the function in it: by default translate, else select, else the only one.
    #[arg(long, value_name = "FILE[:FUNCTION]")]
    pub script: Option<String>,
    /// Seed of draws.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// As httpd's -D.
    #[arg(short = 'D', value_name = "NAME")]
    pub defines: Vec<String>,
}

/// `lbctl convert`.
#[derive(Debug, Args)]
pub struct ConvertArgs {
    /// The program that the configuration is for.
    pub from: ConvertFrom,
    /// The file; of nginx and HAProxy, - is standard input.
    pub file: PathBuf,
}

/// The programs whose configurations are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ConvertFrom {
    /// <Proxy balancer://…> of httpd.
    Balancer,
    /// upstream {} of nginx.
    Nginx,
    /// backend and listen of HAProxy.
    Haproxy,
}

/// `lbctl check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// httpd's configuration; by default the one of the system.
    pub file: Option<PathBuf>,
    /// The httpd that reads it first, and the module in it; by default the one of the system.
    #[arg(long, value_name = "PATH")]
    pub httpd: Option<PathBuf>,
    /// Looks at the file alone.
    #[arg(long, conflicts_with = "httpd")]
    pub without_httpd: bool,
    /// Connects to every member once.
    #[arg(long)]
    pub reach: bool,
    /// As httpd's -D.
    #[arg(short = 'D', value_name = "NAME")]
    pub defines: Vec<String>,
}
