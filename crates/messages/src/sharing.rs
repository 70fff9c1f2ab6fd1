// SPDX-License-Identifier: Apache-2.0
//! Messages about orders and limits that several servers share.

crate::message::chapter! {
    "Shared orders and limits";

    AWAY 601 Warn "the store of shared orders is away, they stay as they are: REASON":
    "The etcd of LuaBalancerStore does not answer. Orders that hold go on holding; new ones are refused with 503.";
    "Repair etcd, or the way to it.";

    THERE 602 Notice "the store of shared orders ANSWERS":
    "The etcd of LuaBalancerStore answers.";
    "Nothing.";

    REPLACED 603 Warn "the store of shared orders was replaced or went back: its orders hold, and those that it lacks are put \
     there":
    "The etcd has another history than before: a new cluster, or a backup that was restored.";
    "Look at lbctl status of each server: orders that were taken back after the backup may hold again.";

    TAKEN_BACK 604 Notice "pool POOL: member MEMBER: a change that the store had not answered has come there after all, and is \
     taken back":
    "A change was refused since the store did not answer in time, and has come there later.";
    "Nothing; give the order again if it is wanted.";

    DOES_NOT_HOLD 605 Warn "pool POOL: member MEMBER: its order in the store does not hold here: REASON":
    "Another server's order cannot be carried out at this one.";
    "Do as the message says; the configurations of the servers may differ.";

    UNREADABLE 606 Warn "pool POOL: member MEMBER: its order in the store is left alone, since it cannot be read: REASON":
    "Somebody else, or a later version, has written the key in etcd.";
    "Give the order anew, or delete the key (docs/several-servers.md).";

    FRONTS 607 Notice "servers that are alive by the store that they share: COUNT":
    "Another number of servers hold a lease in the etcd: each has that part of every max_inflight.";
    "Nothing, if servers came or went. Else look at the log of those that are missing.";

    FRONTS_AWAY 608 Warn "the store of what servers share is away, parts stay as they are: REASON":
    "The etcd of LuaBalancerStore does not answer. Each server keeps its part of every max_inflight.";
    "Repair etcd, or the way to it.";

    OPINIONS_LEFT_OUT 609 Warn "too many opinions of servers about members: none is shown":
    "The servers of LuaBalancerShare health say more about members than there is room for.";
    "Share health in fewer pools (LuaBalancerShare in the pool).";

    DEAF 610 Warn "the opinions of other servers about members cannot be heard: REASON":
    "The keys below PREFIX/health/ are too many or too long to be read: each server goes by its own checks.";
    "Remove keys that somebody has written there by hand.";
}
