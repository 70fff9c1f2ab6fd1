// SPDX-License-Identifier: Apache-2.0
//! Examples in the help of the verbs that speak to a server.

/// The examples of `lbctl status`.
pub const STATUS: &str = "Examples:
  lbctl status
  lbctl status --url https://lb1.example.org/balancer --url https://lb2.example.org/balancer --netrc
  lbctl status -o json

Exit: 0 done, 2 called in a wrong way, 3 refused by the server, 4 no server there.";

/// The examples of `lbctl members`.
pub const MEMBERS: &str = "Examples:
  lbctl members app
  lbctl members '*' --state down

Exit: 0 done, 2 called in a wrong way, 3 refused by the server, 4 no server there.";

/// The examples of `lbctl add`.
pub const ADD: &str = "Examples:
  lbctl add app http://192.168.1.13:8080
  lbctl add app/d http://192.168.1.13:8080 weight=2 zone=eu meta.version=2 --dry-run

Exit: 0 done, 2 called in a wrong way, 3 refused by the server, 4 no server there.";

/// The examples of `lbctl remove`.
pub const REMOVE: &str = "Examples:
  lbctl remove app/d
  lbctl remove app/d --drain 30s

Exit: 0 done, 2 called in a wrong way, 3 refused by the server, 4 no server there.";

/// The examples of `lbctl weight`.
pub const WEIGHT: &str = "Examples:
  lbctl weight app/a 2.5
  lbctl weight 'app/*' configured --dry-run
  lbctl weight --address 192.168.1.10 0

Exit: 0 done, 2 called in a wrong way, 3 refused by the server, 4 no server there.";

/// The examples of `lbctl drain`.
pub const DRAIN: &str = "Examples:
  lbctl drain app/a --wait 5m
  lbctl drain '*/a' --until 10m --then disabled --note 'new disk'
  lbctl drain --address 192.168.1.10 --dry-run
  lbctl drain app/a --local

Exit: 0 done, 2 called in a wrong way, 3 refused by the server, 4 no server there,
5 requests were left when the time of --wait was up.";

/// The examples of `lbctl enable`.
pub const ENABLE: &str = "Examples:
  lbctl enable app/a
  lbctl enable --address 192.168.1.10

Exit: 0 done, 2 called in a wrong way, 3 refused by the server, 4 no server there.";

/// The examples of `lbctl disable`.
pub const DISABLE: &str = "Examples:
  lbctl disable app/a --note 'broken disk'
  lbctl disable app/a --until 2h

Exit: 0 done, 2 called in a wrong way, 3 refused by the server, 4 no server there.";

/// The examples of `lbctl reset`.
pub const RESET: &str = "Examples:
  lbctl reset app/a
  lbctl reset 'app/*'

Exit: 0 done, 2 called in a wrong way, 3 refused by the server, 4 no server there.";

/// The examples of `lbctl wait`.
pub const WAIT: &str = "Examples:
  lbctl wait app/a --for inflight=0 --timeout 5m
  lbctl wait app/a --for state=up
  lbctl wait app --for 'usable>=2'

Conditions: state and admin with = and !=; usable, total, inflight, queued, weight, errors,
p50, p95 and p99 with < <= = != >= >. State of a pool is that of all its members.
Exit: 0 it is so, 2 called in a wrong way, 3 refused by the server, 4 no server there, 5 time was up.";

/// The examples of `lbctl rollout`.
pub const ROLLOUT: &str = "Examples:
  lbctl rollout app -- ssh {host} systemctl restart app
  lbctl rollout app --gate 'usable>=2,errors<1%,p99<0.5' --hold 30s -- ./deploy {host} {port}
  lbctl rollout app --undo './deploy --back {host}' -- ./deploy {host}
  lbctl rollout app --resume -- ./deploy {host}
  lbctl rollout app --resume --take b -- ./deploy {host}

For each member: drain, wait for its last request, run the command, wait for its checks, enable,
hold the gate. Members that are drained or disabled already are left so, without the command.
Exit: 0 done, 1 the command or the gate has failed, or a member that the stopped rollout has left
drained is still out; 2 called in a wrong way, 3 refused by the server, 4 no server there, 5 time was
up. Members that are left drained are named.";

/// The examples of `lbctl top`.
pub const TOP: &str = "Examples:
  lbctl top
  lbctl top --url https://lb1.example.org/balancer --url https://lb2.example.org/balancer --netrc
  lbctl top --once --json

Exit: 0 done, 2 called in a wrong way, 3 refused by the server, 4 no server there.";

/// The examples of `lbctl events`.
pub const EVENTS: &str = "Examples:
  lbctl events
  lbctl events -f --pool app
  lbctl events -o json | jq 'select(.kind == \"state\")'

Exit: 0 done, 2 called in a wrong way, 3 refused by the server, 4 no server there.";

/// The examples of `lbctl decisions`.
pub const DECISIONS: &str = "Examples:
  lbctl decisions --pool app
  lbctl decisions --member a -o json

Exit: 0 done, 2 called in a wrong way, 3 refused by the server, 4 no server there.";

/// The examples of `lbctl scripts`.
pub const SCRIPTS: &str = "Examples:
  lbctl scripts
  lbctl scripts -o json

Exit: 0 done, 2 called in a wrong way, 3 refused by the server, 4 no server there.";

/// The examples of `lbctl discovery`.
pub const DISCOVERY: &str = "Examples:
  lbctl discovery
  lbctl discovery --refresh app/file-1

Exit: 0 done, 2 called in a wrong way, 3 refused by the server, 4 no server there.";

/// The examples of `lbctl state`.
pub const STATE: &str = "Examples:
  lbctl state show
  lbctl state diff
  lbctl state prune

Exit: 0 done, 2 called in a wrong way, 3 refused by the server, 4 no server there.";
