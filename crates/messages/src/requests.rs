// SPDX-License-Identifier: Apache-2.0
//! Messages about single requests. They name the client, as httpd's own do.

crate::message::chapter! {
    "Requests";

    CLIENTS_TARGET 201 Error "refused: a client's words may have become the target by LINE; a pool is reached only where the \
     line writes lb:// itself":
    "The line makes its target of something that clients choose. The request got 403.";
    "Write lb:// and the pool into the line itself (docs/security.md).";

    FORWARD_PROXY 202 Error "refused: a forward proxy reaches a pool only by <Proxy \"lb://POOL\"> with Require":
    "A client has asked this server as a forward proxy for a pool. The request got 403.";
    "Nothing, if clients shall not; otherwise add the section that the message names.";

    NO_POOL 203 Error "lb://NAME: there is no pool of that name":
    "A rule or a script has led to a pool that is not there. The request got 500.";
    "Correct the name, or define the pool; lbctl status names those that are there.";

    BAD_CHARACTERS 204 Error "the path or query to be forwarded holds control characters or blanks":
    "A rule or a script has made a URL that no backend may be sent. The request got 403.";
    "Have the rule encode the path (for RewriteRule the flag B), or leave proxy-nocanon away.";

    AMBIGUOUS_RULE 205 Error "refused: mod_rewrite's target may be that of a rule to lb://, or a client's lb:// in that of \
     the rule to \"PATTERN\"":
    "Two rules could have made the target, and one of them takes it from the client. The request got 403.";
    "Write the other rule so that its target cannot begin with a client's words (docs/security.md).";

    RULE_FROM_REQUEST 206 Error "refused: lb:// came out of a variable, a map or the request in the rule to \"PATTERN\": \
     expected lb:// in the rule itself, for example \"lb://%{ENV:POOL}/$1\" or \"lb://${map:$1|app}/$2\"":
    "The rule takes the whole target from elsewhere. The request got 403.";
    "Write lb:// into the rule itself, as in the examples.";

    NO_FALLBACK 207 Error "LuaBalancerOnError names pool POOL, which does not exist":
    "A script has failed, and the pool for that case has gone since the configuration was read. The request got 500.";
    "Define the pool, or name another one.";

    NO_MEMBER 208 Error "no member for REQUEST: REASON":
    "No member of the pool could be asked: all are down, drained, full or failed for this request. The client got 503, or \
     the status of on_empty=.";
    "lbctl status shows the state of each member and why; the lines before tell when they went down.";

    WAITS_NO_MORE 209 Debug "REQUEST waits no more: REASON":
    "The client of a request that waited in the pool's queue has gone, or its child ends.";
    "Nothing.";

    MEMBER_REFUSED 210 Error "pool POOL: member MEMBER: REASON":
    "mod_proxy does not take the member's URL or settings. The request went to another member.";
    "Correct the member's line, or its entry in the source that has added it.";

    TARGET_REFUSED 211 Error "target URL: REASON":
    "A script has answered with a URL that mod_proxy does not take.";
    "Correct the script.";

    NO_MODULE 212 Error "no module speaks SCHEME:// to backends: load MODULES":
    "The module of httpd for this scheme is not loaded.";
    "Load one of the modules that the message names.";

    USING_POOL 213 Error "using pool POOL":
    "The function of LuaBalancerMethod lua has failed, and this pool has the request, as LuaBalancerOnError says.";
    "Look at the line before, which tells how the function failed.";

    ATTEMPT_FAILED 214 Debug "PLACE attempt COUNT at MEMBER failed: REASON, NEXT":
    "One attempt at one member has failed.";
    "Nothing, if another attempt is made; the reasons are those of LB_REASON.";

    ALL_WORKERS_USED 215 Error "this child has COUNT workers for members, and requests are at all of them: members that are \
     new to it get no requests from it until some of them have ended":
    "So many members have come and gone that the child has no room for connections to further ones.";
    "Restart gracefully; change fewer members at a time, or keep their names and addresses.";

    KEY_FAILED 216 Error "key=\"KEY\": ERROR":
    "The expression of key= could not be evaluated. The request was balanced without a key.";
    "Correct the expression.";

    EXPLAINED 217 Trace2 "REASON":
    "The state of a pool or a session, and the choice that follows.";
    "Nothing.";

    ANSWERED 218 Trace2 "REASON":
    "The answer of a script, beside the members that it could choose from.";
    "Nothing.";
}
