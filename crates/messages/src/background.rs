// SPDX-License-Identifier: Apache-2.0
//! Messages about the work beside requests: the lead, checks, threads.

crate::message::chapter! {
    "Checks, timers and the lead";

    LEADS 401 Notice "child PID leads: it runs checks and timers for all children":
    "Another child does the work that one does for all.";
    "Nothing, unless it happens often: then look for the reason that children end.";

    NO_CHECKS 402 Error "checks cannot run: ERROR":
    "The leading child cannot begin active checks; it tries again. Members keep the state of before.";
    "Do as the message says, for example raise the limit of open files.";

    CHECKS_TROUBLED 403 Error "ERROR":
    "Something at this machine keeps checks from running: no file descriptors, no ports. Members keep the state of before.";
    "Do as the message says, for example raise the limit of open files.";

    NO_TIMER_THREAD 404 Error "no thread for timers and Lua checks: ERROR":
    "Timers and Lua checks do not run; the leading child tries again.";
    "Raise the limit of threads or memory.";

    NO_TIMERS 405 Error "timers and Lua checks cannot run: ERROR":
    "There is no Lua state for them; the leading child tries again.";
    "Do as the message says, for example raise the limit of open files or memory.";

    NO_WATCH 406 Warn "no thread to watch scripts in this child, they cost more: ERROR":
    "The time of scripts is measured in another way, which costs each call more.";
    "Raise the limit of threads.";

    NO_BACKGROUND 407 Crit "no thread for health checks in this child: ERROR":
    "This child cannot lead, and does not take saved scripts. Another child leads.";
    "Raise the limit of threads, then restart.";
}
