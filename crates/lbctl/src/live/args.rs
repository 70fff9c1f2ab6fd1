// SPDX-License-Identifier: Apache-2.0
//! The words of the verbs that speak to a server.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// The states of members.
const STATES: [&str; 5] = ["up", "draining", "ejected", "down", "disabled"];

/// The servers.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Servers")]
pub struct Reach {
    /// The server's socket; by default LBCTL_SOCKET, or else where it usually is.
    #[arg(long, value_name = "PATH", conflicts_with = "urls")]
    pub socket: Option<PathBuf>,
    /// The URL of a server with SetHandler lua-balancer; may be given several times.
    #[arg(long = "url", value_name = "URL")]
    pub urls: Vec<String>,
    /// Takes names and passwords from ~/.netrc, or from this file.
    #[arg(long, value_name = "FILE", require_equals = true)]
    pub netrc: Option<Option<PathBuf>>,
    /// Certificates (PEM) of the authority that has signed the servers' own.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
}

/// The servers, and the account.
#[derive(Debug, Clone, Args)]
pub struct Login {
    /// The servers.
    #[command(flatten)]
    pub reach: Reach,
    /// The account on the server; without a password here, LBCTL_PASSWORD or the .netrc has it.
    #[arg(long, value_name = "NAME[:PASSWORD]", help_heading = "Servers")]
    pub user: Option<String>,
}

/// `lbctl status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The servers.
    #[command(flatten)]
    pub login: Login,
}

/// `lbctl top`.
#[derive(Debug, Args)]
pub struct TopArgs {
    /// Shows the table once, as lbctl status does.
    #[arg(long)]
    pub once: bool,
    /// The time between two questions to the servers.
    #[arg(long, value_name = "TIME", default_value = "1s")]
    pub interval: String,
    /// The servers.
    #[command(flatten)]
    pub login: Login,
}

/// `lbctl rollout`.
#[derive(Debug, Args)]
pub struct RolloutArgs {
    /// The pool.
    pub pool: String,
    /// The number of members that may be out at the same time.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub max_unavailable: u16,
    /// The conditions that have to hold after each member: 'usable>=2,errors<1%,p99<0.5'.
    #[arg(long, value_name = "CONDITIONS")]
    pub gate: Option<String>,
    /// How long the gate has to hold.
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub hold: String,
    /// The time to wait for the last request of a member, and for its checks.
    #[arg(long, value_name = "TIME", default_value = "5m")]
    pub timeout: String,
    /// A line for the shell that takes a member back; run for all that were changed, last first,
    /// when the command or the gate fails.
    #[arg(long, value_name = "LINE")]
    pub undo: Option<String>,
    /// Goes on at the place where an earlier rollout of the pool has stopped.
    #[arg(long)]
    pub resume: bool,
    /// Takes a member, too, that the stopped rollout has left drained; may be given several times.
    #[arg(long, value_name = "MEMBER", requires = "resume")]
    pub take: Vec<String>,
    /// The file that notes how far the rollout has come; by default below ~/.local/state/lbctl.
    #[arg(long, value_name = "FILE")]
    pub journal: Option<PathBuf>,
    /// The servers.
    #[command(flatten)]
    pub login: Login,
    /// The command for each member; {name}, {host}, {port}, {url} and {pool} are its own.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// `lbctl members`.
#[derive(Debug, Args)]
pub struct MembersArgs {
    /// The pool; * and ? stand for anything.
    pub pool: String,
    /// Only members of this state.
    #[arg(long, value_name = "STATE", value_parser = STATES)]
    pub state: Option<String>,
    /// The servers.
    #[command(flatten)]
    pub login: Login,
}

/// The members.
#[derive(Debug, Clone, Args)]
#[group(id = "which", required = true, multiple = false)]
pub struct Which {
    /// Members as POOL/MEMBER; * and ? stand for anything.
    #[arg(value_name = "POOL/MEMBER", group = "which")]
    pub members: Vec<String>,
    /// All members at this address, in all pools, by one request.
    #[arg(long, value_name = "HOST[:PORT]", group = "which")]
    pub address: Option<String>,
}

/// How a change is made.
#[derive(Debug, Clone, Args)]
pub struct How {
    /// Tells what would change, old → new, and changes nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// The servers.
    #[command(flatten)]
    pub login: Login,
}

/// How an order is given, which servers may share.
#[derive(Debug, Clone, Args)]
pub struct OrderHow {
    /// Orders at the server alone where servers share orders, also while their store is away; the
    /// store gets the order later.
    #[arg(long)]
    pub local: bool,
    /// How.
    #[command(flatten)]
    pub how: How,
}

/// The reason, for people who look at it later.
#[derive(Debug, Clone, Args)]
pub struct Note {
    /// Why, in at most 200 bytes.
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
    /// When it ends: a duration such as 10m, or a time.
    #[arg(long, value_name = "WHEN")]
    pub until: Option<String>,
    /// The state that holds then: ready (by default), drain or disabled.
    #[arg(long, value_name = "STATE", requires = "until")]
    pub then: Option<String>,
}

/// `lbctl drain`.
#[derive(Debug, Args)]
pub struct DrainArgs {
    /// The members.
    #[command(flatten)]
    pub which: Which,
    /// Waits until the last request there is gone, at most so long.
    #[arg(long, value_name = "TIME")]
    pub wait: Option<String>,
    /// Until when, and why.
    #[command(flatten)]
    pub note: Note,
    /// How.
    #[command(flatten)]
    pub how: OrderHow,
}

/// `lbctl disable`.
#[derive(Debug, Args)]
pub struct DisableArgs {
    /// The members.
    #[command(flatten)]
    pub which: Which,
    /// Until when, and why.
    #[command(flatten)]
    pub note: Note,
    /// How.
    #[command(flatten)]
    pub how: OrderHow,
}

/// `lbctl enable`.
#[derive(Debug, Args)]
pub struct EnableArgs {
    /// The members.
    #[command(flatten)]
    pub which: Which,
    /// How.
    #[command(flatten)]
    pub how: OrderHow,
}

/// `lbctl reset`.
#[derive(Debug, Args)]
pub struct ResetArgs {
    /// The members.
    #[command(flatten)]
    pub which: Which,
    /// How.
    #[command(flatten)]
    pub how: How,
}

/// `lbctl weight`.
#[derive(Debug, Args)]
pub struct WeightArgs {
    /// Members as POOL/MEMBER, and last the weight: a number, or configured.
    #[arg(value_name = "POOL/MEMBER… N", required = true, num_args = 1..)]
    pub words: Vec<String>,
    /// All members at this address, in all pools, by one request.
    #[arg(long, value_name = "HOST[:PORT]")]
    pub address: Option<String>,
    /// How.
    #[command(flatten)]
    pub how: OrderHow,
}

/// `lbctl remove`.
#[derive(Debug, Args)]
pub struct RemoveArgs {
    /// The members.
    #[command(flatten)]
    pub which: Which,
    /// Drains first, and removes after this time.
    #[arg(long, value_name = "TIME")]
    pub drain: Option<String>,
    /// Also members that the configuration names, until the next graceful or start.
    #[arg(long)]
    pub force: bool,
    /// How.
    #[command(flatten)]
    pub how: How,
}

/// `lbctl add`.
#[derive(Debug, Args)]
pub struct AddArgs {
    /// The pool; POOL/NAME names the member.
    #[arg(value_name = "POOL[/NAME]")]
    pub pool: String,
    /// Its URL, for example http://10.0.0.1:8080.
    #[arg(value_name = "MEMBER-URL")]
    pub member: String,
    /// Keys of LuaBalancerMember: weight=2 zone=eu meta.version=2.
    #[arg(value_name = "KEY=VALUE")]
    pub keys: Vec<String>,
    /// How.
    #[command(flatten)]
    pub how: How,
}

/// `lbctl wait`.
#[derive(Debug, Args)]
pub struct WaitArgs {
    /// A pool, or members as POOL/MEMBER; * and ? stand for anything.
    #[arg(value_name = "POOL[/MEMBER]")]
    pub of: String,
    /// The condition: inflight=0, state=up, 'usable>=2'; several with commas between.
    #[arg(long = "for", value_name = "CONDITION")]
    pub condition: String,
    /// How long at most.
    #[arg(long, value_name = "TIME", default_value = "5m")]
    pub timeout: String,
    /// The servers.
    #[command(flatten)]
    pub login: Login,
}

/// `lbctl events`.
#[derive(Debug, Clone, Args)]
pub struct EventsArgs {
    /// Goes on with new events, until Ctrl-C.
    #[arg(short, long)]
    pub follow: bool,
    /// Only of this pool.
    #[arg(long)]
    pub pool: Option<String>,
    /// Only from this number on.
    #[arg(long, value_name = "NUMBER")]
    pub since: Option<u64>,
    /// At most so many.
    #[arg(long, value_name = "NUMBER")]
    pub limit: Option<u32>,
    /// The servers.
    #[command(flatten)]
    pub login: Login,
}

/// `lbctl decisions`.
#[derive(Debug, Args)]
pub struct DecisionsArgs {
    /// Only of this pool.
    #[arg(long)]
    pub pool: Option<String>,
    /// Only of this member.
    #[arg(long)]
    pub member: Option<String>,
    /// Only for this reason, as LB_REASON has it.
    #[arg(long)]
    pub reason: Option<String>,
    /// The servers.
    #[command(flatten)]
    pub login: Login,
}

/// `lbctl scripts`.
#[derive(Debug, Args)]
pub struct ScriptsArgs {
    /// The servers.
    #[command(flatten)]
    pub login: Login,
}

/// `lbctl discovery`.
#[derive(Debug, Args)]
pub struct DiscoveryArgs {
    /// Asks a source now.
    #[arg(long, value_name = "POOL/SOURCE", conflicts_with = "accept")]
    pub refresh: Option<String>,
    /// Takes the members of a source that are held back.
    #[arg(long, value_name = "POOL/SOURCE")]
    pub accept: Option<String>,
    /// The servers.
    #[command(flatten)]
    pub login: Login,
}

/// `lbctl state`.
#[derive(Debug, Args)]
pub struct StateArgs {
    /// The verb.
    #[command(subcommand)]
    pub what: StateVerb,
}

/// The verbs of the state file.
#[derive(Debug, Subcommand)]
pub enum StateVerb {
    /// The file as it is.
    Show(StatusArgs),
    /// Shows the parts that a start would apply, and those that it would not.
    Diff(StatusArgs),
    /// Drops the parts that a start would not apply.
    Prune(StatusArgs),
}
