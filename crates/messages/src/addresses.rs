// SPDX-License-Identifier: Apache-2.0
//! Messages about databases of addresses (`LuaBalancerGeoIP`).

crate::message::chapter! {
    "Databases of addresses";

    TAKEN 901 Notice "PATH: a new KIND is in service":
    "A database was replaced.";
    "Nothing.";

    REFUSED 902 Error "REASON (not taken, the last good one goes on serving)":
    "A database was replaced by a file that is damaged, not whole, or of another kind.";
    "Replace it again: write a new file beside it and rename that.";

    DAMAGED 903 Error "REASON; it goes on serving, and what it does not tell counts as unknown":
    "A part of the database is damaged. Look-ups of some addresses find nothing.";
    "Replace the file.";

    GONE 904 Warn "PATH: is gone, what was read of it goes on serving":
    "The file of a database was removed.";
    "Put a file there before the next start.";

    LOOKUP_FAILED 905 Error "REASON; what it does not tell counts as unknown":
    "A look-up has met a damaged part of the database.";
    "Replace the file.";

    NOT_TAKEN_AT_RESTART 906 Error "PLACE: REASON (not taken, INSTEAD)":
    "A database cannot be used at a restart. The last good one serves, if there is one.";
    "Replace the file, or correct LuaBalancerGeoIP.";

    UNUSABLE 907 Crit "PLACE: LuaBalancerGeoIP: REASON":
    "A database cannot be used at a start.";
    "Replace the file, or correct LuaBalancerGeoIP.";
}
