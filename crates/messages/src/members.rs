// SPDX-License-Identifier: Apache-2.0
//! Messages about changes of members and pools.

crate::message::chapter! {
    "Members and pools";

    DOWN 101 Warn "pool POOL: member MEMBER is down: COUNT checks failed, the last one: REASON":
    "Active checks failed, as many in a row as fall= says. The member gets no new requests.";
    "Look at the backend with the reason of the last check. The member comes back by itself when checks pass.";

    UP 102 Notice "pool POOL: member MEMBER is up: COUNT checks passed":
    "Active checks passed, as many in a row as rise= says. The member gets requests again.";
    "Nothing.";

    UNCHECKED 103 Debug "pool POOL: member MEMBER: CHANGE (what earlier checks said does not count)":
    "The member's checks are no longer made, or are others than before.";
    "Nothing.";

    AGENT 104 Notice "pool POOL: member MEMBER: WORDS":
    "The agent at the backend asks for another state, weight or limit.";
    "Nothing; if the agent is wrong, correct it at the backend.";

    EJECTED 105 Warn "pool POOL: member MEMBER ejected for SECONDS after COUNT consecutive failures, the last one: REASON":
    "Requests to the member failed, as many in a row as LuaBalancerOutlier allows. It gets none for this time.";
    "Look at the backend, and at the reason. The member comes back by itself, for longer each time that it fails again.";

    EJECTION_OVER 106 Notice "pool POOL: member MEMBER takes requests again after its ejection":
    "The time of an ejection is over.";
    "Nothing.";

    SLOW_START_OVER 107 Debug "pool POOL: member MEMBER: slow start is over":
    "The member has its whole weight.";
    "Nothing.";

    ORDER_OVER 108 Notice "pool POOL: member MEMBER: CHANGE (the time is over of an order by NAME)":
    "An order was given for some time, which is over: the member is as it was before.";
    "Nothing; give the order again if it is to last.";

    ADDED 109 Notice "pool POOL: member MEMBER ADDED, weight WEIGHT (by NAME)":
    "A member is new in its pool.";
    "Nothing.";

    REMOVED 110 Notice "pool POOL: member MEMBER removed (by NAME)":
    "A member is no longer in its pool. Requests that it has are finished.";
    "Nothing, if that is meant.";

    KEYS_CHANGED 111 Notice "pool POOL: member MEMBER: its keys have changed (by NAME)":
    "Other timeouts, limits or the like hold for the member from now on.";
    "Nothing.";

    MOVED 112 Notice "pool POOL: member MEMBER: URL -> URL (by NAME)":
    "The member has another address. It begins as a new one would.";
    "Nothing.";

    WEIGHT_CHANGED 113 Notice "pool POOL: member MEMBER: weight WEIGHT -> WEIGHT (by NAME)":
    "The member gets another share of the requests.";
    "Nothing.";

    STATE_ORDERED 114 Notice "pool POOL: member MEMBER: STATE -> STATE (by NAME)":
    "Somebody drains, disables or enables a member.";
    "Nothing, if that is meant; lbctl enable POOL/MEMBER takes a drain back.";

    FLAGS_ORDERED 115 Notice "pool POOL: member MEMBER: status LETTERS -> LETTERS (by NAME)":
    "Letters of status= have changed, as standby or ignore errors, which do not change the member's state.";
    "Nothing.";

    DEFINED 116 Notice "pool POOL: defined with COUNT members":
    "A script has defined a pool, or defined it anew.";
    "Nothing.";

    CHANGED 117 Notice "pool POOL: member MEMBER: CHANGE (by NAME)":
    "Something else of the member has changed.";
    "Nothing.";

    SERVERS 118 Warn "pool POOL: member MEMBER: CHANGE (COUNT of COUNT servers call it down)":
    "The servers of LuaBalancerShare health=quorum have decided about the member, and this one follows.";
    "Look at the member, and at the way to it from the servers that call it down (lbctl members).";
}
