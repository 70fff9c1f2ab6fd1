// SPDX-License-Identifier: Apache-2.0
//! Messages about the configuration, starts and restarts, and children.

crate::message::chapter! {
    "Configuration, starts, restarts, children";

    CONFIGURED 1 Notice "mod_lua_balancer/VERSION configured, COUNT pools, COUNT members":
    "A start or a restart has taken the configuration.";
    "Nothing.";

    NO_MOD_PROXY 2 Crit "mod_lua_balancer needs mod_proxy, which is not loaded (Debian: a2enmod proxy proxy_http)":
    "The module sends requests through mod_proxy, and httpd has not loaded it.";
    "Load mod_proxy, and mod_proxy_http for backends over HTTP, before or after this module.";

    IDLE_LINE 3 Crit "PLACE: REASON":
    "A line of another module would lead to a pool, and could not work as it is written.";
    "Change the line as the message says.";

    OTHER_MOD_PROXY 4 Crit "mod_lua_balancer cannot work with this mod_proxy: REASON":
    "The mod_proxy that httpd has loaded lacks a function that the module calls.";
    "Use the mod_proxy of the same httpd, version 2.4.37 or later (docs/httpd-versions.md).";

    REFUSED 5 Crit "REASON":
    "Directives that are right by themselves do not go together.";
    "Change the directive that the message names.";

    WRONG_LINE 6 Crit "PLACE: REASON":
    "A line leads to a pool that is not there, or defines a member that nobody can talk to.";
    "Change the line as the message says.";

    UNUSABLE_FILE 7 Crit "PLACE: REASON":
    "Found by configtest: the children of httpd could not read a file that a directive names.";
    "Give the user of httpd's children the right to read the file, or repair its contents.";

    DOUBT 8 Warn "PLACE: REASON":
    "A line is allowed, and hardly does the thing that was meant.";
    "Change the line as the message says, or leave it if it is meant.";

    NOT_SHOWN 9 Crit "-D DUMP_LUA_BALANCER: ERROR":
    "The configuration could not be written to standard output.";
    "Look where the output goes: a full disk, or a pipe whose reader has ended.";

    NOT_STARTED 10 Crit "REASON":
    "The server does not start: it has no memory for the shared table, no socket that was configured, or no room for the \
     pools.";
    "Do as the message says; LuaBalancerMaxMembers gives more room.";

    CHILD_WITHOUT_BALANCER 11 Crit "this child cannot balance: REASON":
    "A child of httpd has no part of the shared table or no Lua states; it answers requests to pools with 500.";
    "Do as the message says, for example raise ServerLimit, and restart.";

    PANIC 12 Crit "internal error (panic) at PLACE: ERROR":
    "A fault of the module. The request that met it was answered with 500, the child lives on.";
    "Report it with the whole line and the lines before it (SECURITY.md if a client can cause it).";

    CHILD_ENDED 13 Notice "child PID ended with COUNT requests in flight, given back":
    "A child has ended while requests were under way; the counts of their members are right again.";
    "Look for the reason in the lines before: a crash, a kill, or a restart that did not wait.";

    MEMBERS_REMOVED 14 Warn "no room for members that were added while running beside those of the configuration \
     (LuaBalancerMaxMembers gives more): removed MEMBERS":
    "The new configuration needs the rows of members that scripts, the API or sources have added.";
    "Raise LuaBalancerMaxMembers, restart, and add the members again.";

    TABLE_UNUSABLE 15 Warn "the table of the last configuration cannot be used, starting anew: ERROR":
    "The shared table of the last configuration is damaged; weights, drains and health begin as configured.";
    "Order again what was ordered while the server ran. If it happens again, report it.";

    TABLE_NOT_WHOLE 16 Warn "not all state of the last configuration could be kept: ERROR":
    "A bigger table took the place of the last one, and a part of the state did not fit.";
    "Look at lbctl status, and order again what is missing; LuaBalancerMaxMembers gives more room.";

    UPGRADED 17 Notice "the module has another version: COUNT members go on with their weight and state; counts of requests \
     in flight and round robin sequences begin anew":
    "A restart has loaded another version of the module.";
    "Nothing.";

    UPGRADED_WITH_LOSS 18 Warn "the module has another version: COUNT members go on with their weight and state; counts of \
     requests in flight and round robin sequences begin anew; COUNT that were added while running have keys that it does not \
     know":
    "A restart has loaded another version of the module, which does not know keys of members that were added while running.";
    "Add these members again, with keys of this version.";

    UPGRADE_NOT_WHOLE 19 Warn "not all state of the module's last version could be kept: ERROR":
    "A restart has loaded another version of the module, and a part of the state could not be taken over.";
    "Look at lbctl status, and order again what is missing.";

    NO_HISTORY 20 Warn "no history and no percentiles of the last ten minutes: ERROR":
    "There is no memory for the history of pools and members. Requests are served as usual.";
    "Give the machine or the container more memory, then restart.";

    HISTORY_NOT_KEPT 21 Warn "the history will not outlive this configuration: ERROR":
    "The next restart begins a new history.";
    "Nothing for requests; report it if it happens again.";

    TABLE_EXAMINED 22 Notice "the table is FINDING":
    "Only a build with the feature faults, for tests, looks over the shared table on demand.";
    "Do not use such a build for service.";

    DICT_CARRIED 23 Notice "dictionary NAME has SIZE bytes now, SIZE before: COUNT of COUNT entries kept":
    "The size of a LuaBalancerDict has changed at a restart.";
    "Nothing, if all entries were kept; otherwise give it the size of before.";

    DICT_ANEW 24 Notice "dictionary NAME begins anew, not all it held could be kept: ERROR":
    "The size of a LuaBalancerDict has changed at a restart, and its entries are gone.";
    "Have the scripts fill it again.";
}
