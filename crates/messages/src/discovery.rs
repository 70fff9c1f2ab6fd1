// SPDX-License-Identifier: Apache-2.0
//! Messages about sources of members.

crate::message::chapter! {
    "Discovery";

    IN_SERVICE 501 Notice "pool POOL: source NAME: its LIST is in service: COUNT members, COUNT changes, COUNT gone":
    "The members of the pool are those of the source's list.";
    "Nothing.";

    FAILING 502 Warn "pool POOL: source NAME: REASON; it has given no list yet":
    "The source cannot be read. The pool has no members of it.";
    "Repair the source; it is asked again by itself.";

    STALE 503 Warn "pool POOL: source NAME: REASON; its last list stays":
    "The source cannot be read. Its members serve on.";
    "Repair the source; it is asked again by itself.";

    EXPIRED 504 Warn "pool POOL: source NAME: REASON; it has failed for longer than stale= allows, its members go":
    "The source could not be read for so long that its list does not count any more.";
    "Repair the source, or raise stale=.";

    OTHER_REASON 505 Debug "pool POOL: source NAME: REASON":
    "The source still cannot be read, for another reason than before.";
    "As for LB0503.";

    READ_AGAIN 506 Notice "pool POOL: source NAME: it is read again":
    "The source answers after it had failed.";
    "Nothing.";

    HELD 507 Warn "pool POOL: source NAME: its list lacks COUNT of COUNT members: it is held TIME, or taken by lbctl \
     discovery --accept POOL/NAME":
    "The list lacks so many members that it may be a mistake. The pool stays as it is.";
    "Look at the source. If the list is meant, take it with the command.";

    ENTRIES_LEFT_OUT 508 Warn "pool POOL: source NAME: COUNT entries are left out, the first: REASON":
    "Some entries of the list do not describe a member that the pool can have.";
    "Correct the entry at the source; lbctl discovery shows the first fault.";

    NOT_TAKEN 509 Error "pool POOL: source NAME: REASON":
    "The list is not in service, or a part of it: there is no room, or it contradicts the configuration. It is tried again.";
    "Do as the message says; LuaBalancerMaxMembers gives more room.";

    STEPS_BACK 510 Debug "pool POOL: source NAME: others have the names MEMBERS, before whom it steps back":
    "Members of the configuration, of the API or of earlier sources have these names.";
    "Nothing, if that is meant.";

    NO_ROOM_TO_SHOW 511 Warn "pool POOL: source NAME: no room to show how it does, there are too many":
    "The source works, but status, metrics and lbctl do not show it.";
    "Restart httpd: the table is then made for all sources of the configuration.";

    CANNOT_LOOK 512 Error "members cannot be looked for (LuaBalancerDiscovery): ERROR":
    "The leading child has no threads for the sources; it tries again. Members stay as they are.";
    "Raise the limit of threads or open files.";

    ACCEPTED 513 Notice "pool POOL: source NAME: what is held is taken (by NAME)":
    "Somebody takes a list that was held.";
    "Nothing.";
}
