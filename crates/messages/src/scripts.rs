// SPDX-License-Identifier: Apache-2.0
//! Messages about scripts: their calls, versions and trials. Lines that a script writes itself have
//! no id.

crate::message::chapter! {
    "Scripts";

    FAILED 301 Error "script failed, NEXT: ERROR":
    "A hook raised an error, took too long or too much memory, or answered with something else than an answer. The request \
     goes on as LuaBalancerOnError says.";
    "Correct the script at the line that the error names, or raise the limit that it names; LogLevel lua_balancer:debug \
     adds the traceback.";

    TRACEBACK 302 Debug "STACK":
    "The traceback of the error in the line before.";
    "Nothing.";

    ODD_ANSWER 303 Error "internal error: unknown answer ANSWER":
    "A fault of the module. The request got 500.";
    "Report it with the script's answer.";

    SHADOW_FAILED 304 Error "LuaBalancerShadow: ERROR":
    "The script that is only compared has failed. The request is not touched by that.";
    "Correct the script before it is put in service.";

    FINISH_FAILED 305 Error "LuaHookFinish failed: ERROR":
    "A hook after the request has failed. The client had its answer before.";
    "Correct the script.";

    NEXT_ATTEMPT_FAILED 306 Error "script failed at attempt COUNT: ERROR":
    "The script that names a peer for each attempt has failed. No further attempt is made.";
    "Correct the script.";

    METHOD_UNKNOWN 307 Error "LuaBalancerMethod lua SCRIPT: the script is unknown":
    "The pool's method names a script that this configuration does not have. The request fails, or goes where \
     LuaBalancerOnError says.";
    "Restart httpd with the configuration of now.";

    METHOD_FAILED 308 Error "LuaBalancerMethod lua REASON":
    "The pool's function has failed, or did not return a member or nil. The request fails, or goes where LuaBalancerOnError \
     says.";
    "Correct the script.";

    NO_ROOM_TO_KEEP 309 Warn "SCRIPT: no room to keep its last good version for later children":
    "The shared table has no row for the script. A child that starts while the file is broken has no version of it.";
    "Restart httpd: the table is then made for all scripts of the configuration.";

    VERSION_NOT_KEPT 310 Warn "SCRIPT: ERROR":
    "A good version of the script serves, and could not be stored for later children.";
    "Make the script and its modules smaller, or restart httpd.";

    STUCK 311 Crit "SCRIPT: version VERSION is stuck in C, TIME: no child calls it any more until it is saved anew, and its \
     thread is lost while that lasts":
    "A call into a function of C, for example of a Lua module or a pattern, does not come back.";
    "Correct the script and save it. Restart gracefully to have the lost threads back.";

    STORED_UNREADABLE 312 Error "SCRIPT: stored version VERSION: ERROR":
    "The version of the script in the shared table cannot be read.";
    "Save the script anew.";

    IN_SERVICE 313 Notice "SCRIPT: version VERSION is in service":
    "A saved script was vetted and serves all requests.";
    "Nothing.";

    NOT_TAKEN 314 Error "ERROR (not taken, the last good version goes on serving)":
    "A script was saved with an error.";
    "Correct it and save it again; lbctl scripts shows the state of each script.";

    NOT_TAKEN_AT_RESTART 315 Error "ERROR (the last good version, if there is one, goes on serving)":
    "A script has an error at a restart.";
    "Correct it and save it.";

    REFUSED 316 Crit "PLACE: ERROR":
    "A script that the configuration names is not there, cannot be read by User, does not compile, lacks its function or \
     fails at its top level.";
    "Correct the script or the directive; lbctl test runs scripts without httpd.";

    NOT_VETTED 317 Crit "REASON":
    "The scripts of the configuration could not be looked at: no process or no memory for it.";
    "Do as the message says: limits of processes or memory, or the account of User and Group.";

    POOLS_NOT_DEFINED 318 Error "SCRIPT: ERROR":
    "The pools that a script defines at its top level found no room, or contradict others.";
    "Correct the script, or raise LuaBalancerMaxMembers.";

    VERSION_BEFORE_SERVES 319 Error "ERROR; the version before goes on serving":
    "A Lua state could not load a version that was found good.";
    "Correct the script and save it.";

    ON_TRIAL 320 Notice "SCRIPT: the saved version is on trial, with SHARE % of the requests for SECONDS s":
    "A saved version has a part of the requests first, as its directive says.";
    "Nothing.";

    TRIAL_OVER 321 Notice "SCRIPT: COUNT of COUNT calls failed: the trial is over":
    "The version on trial has failed rarely enough, and is put in service.";
    "Nothing.";

    TRIAL_FAILED 322 Error "SCRIPT: REASON: the saved version is not taken, the one before serves everything":
    "The version on trial has failed too often, or is stuck.";
    "Correct the script and save it again.";

    NO_TRIAL 323 Warn "SCRIPT: ERROR: there is no trial":
    "There is no room to store a second version: the saved one serves all requests at once.";
    "Make the script and its modules smaller.";

    HELD_BACK 324 Notice "SCRIPT: its saved version is on trial, or was not taken: the one before goes on serving":
    "A restart does not cut a trial short.";
    "Nothing.";

    NO_VETTER_ACCOUNT 325 Crit "scripts cannot be vetted, no process becomes NAME: ERROR":
    "The process that vets scripts could not take the account of httpd's children.";
    "Check User and Group, and limits of the account.";

    NO_VETTING 326 Crit "REASON: saved scripts are not taken":
    "There is no process that vets scripts. The versions in service go on serving.";
    "Do as the message says (processes, memory, descriptors), then restart.";

    VETTER_ENDED 327 Error "the process that vets saved scripts has ended, another one takes its place":
    "The process was killed, or a script's top level has ended it.";
    "Nothing once; if it happens again, look at the script that was saved then, and for the kernel's out of memory lines.";

    VETTER_NOT_REPLACED 328 Error "REASON":
    "The process that vets scripts has ended at a start, and no other takes its place.";
    "Do as the message says (processes, memory, descriptors), then restart.";

    LINES_LEFT_OUT 329 Warn "(this top level logs more lines, left out)":
    "The top level of a saved script logs too much.";
    "Have it log less.";

    NO_SUCH_MEMBER 330 Info "SCRIPT: pool POOL has no member named NAME":
    "A script has asked for a member that is not in the pool, or not in its view, and got nil.";
    "Nothing, if the script expects that.";

    HEADER_CLEANED 331 Warn "a script set header NAME to a value with a line end; it became a space":
    "A script passes on text that would have made another header.";
    "Have the script look at the text first.";

    UNKNOWN_FIELD 332 Debug "r.NAME is not known, a script gets nil":
    "A script reads a field of the request that there is not.";
    "Correct the name (docs/lua-api.md).";

    GLOBALS_TOO_LARGE 333 Warn "the scripts of this thread kept SIZE KiB in their globals, more than half of memory=SIZE KiB: \
     they start anew":
    "Scripts collect values in global variables or tables of their top level.";
    "Have them keep less, keep it in a LuaBalancerDict, or raise memory= of LuaBalancerScriptLimit.";

    TIMERS_TOO_LARGE 334 Warn "the scripts of timers and checks keep too much in their globals: they start anew":
    "As LB0333, for timers and Lua checks.";
    "Have them keep less, or raise memory= of LuaBalancerScriptLimit.";

    TOP_LEVEL_FAILED 335 Error "ERROR":
    "A script's top level failed in the thread of timers and Lua checks: its timers do not run.";
    "Correct the script and save it.";

    TIMER_FAILED 336 Error "timer: ERROR":
    "A run of a timer has failed. The next one comes at its time.";
    "Correct the script.";

    CHECK_FAILED 337 Error "pool POOL: check of member MEMBER: ERROR":
    "The function of a Lua check raised an error; it counts as a failed check.";
    "Correct the script.";
}
