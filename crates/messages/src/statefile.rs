// SPDX-License-Identifier: Apache-2.0
//! Messages about the state file.

crate::message::chapter! {
    "State file";

    RESTORED 701 Notice "the state file of TIME: orders of COUNT members hold again, COUNT members are back":
    "A start has taken up the orders of before.";
    "Nothing.";

    TOO_OLD 702 Notice "the state file PATH of TIME is older than max_age=: nothing of it holds":
    "The server was down for so long that its last state does not count.";
    "Give orders again that are still wanted.";

    USELESS 703 Error "the state file PATH is of no use: REASON":
    "The file is damaged, or of something else. It was moved aside; the server starts as configured.";
    "Look at the file that the message names, and give orders again.";

    DROPPED 704 Notice "the state file: REASON":
    "An order or a member of the file does not hold any more, since the configuration is another.";
    "Nothing, if that is meant.";

    NOT_RESTORED 705 Error "the state file: REASON":
    "An order or a member of the file could not be taken up.";
    "Do as the message says; LuaBalancerMaxMembers gives more room.";

    NOT_WRITTEN 706 Warn "REASON; orders are not kept over a stop until it can":
    "The state file cannot be written. The server works on, and tries again.";
    "Give the user of httpd's children the right to write there, or make room on the disk.";

    WRITTEN_AGAIN 707 Notice "the state file PATH is written again":
    "The state file could not be written before, and can be now.";
    "Nothing.";

    LAST_NOT_KEPT 708 Warn "the last state of this server is not kept: REASON":
    "The state file could not be written at the end of the server: it holds an earlier state.";
    "Look at the reason before the next start.";

    NONE 709 Warn "no state file at PATH: REASON; orders end with this server (LuaBalancerStateFile, PLACE)":
    "The file of the directive cannot be had.";
    "Do as the message says, or name another path.";

    NO_DEFAULT 710 Notice "no state file at PATH: REASON; orders end with this server":
    "The default file cannot be had, for example by a server that was not started by root.";
    "Nothing, if orders need not be kept; otherwise name a path with LuaBalancerStateFile.";
}
