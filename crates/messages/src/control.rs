// SPDX-License-Identifier: Apache-2.0
//! Messages about the control plane: its sockets, orders, metrics.

crate::message::chapter! {
    "Control plane and metrics";

    ORDERED 801 Notice "pool POOL: member MEMBER: CHANGE (by NAME)":
    "Somebody has changed limits, meta keys, the end or the reason of an order, or has counts begin anew.";
    "Nothing.";

    NO_DEFAULT_SOCKET 802 Warn "no socket for the control plane: ERROR; LuaBalancerSocket names another path, or none":
    "The default socket cannot be had. The server works; lbctl does not reach it there.";
    "Do as the message says; LuaBalancerSocket none says that no socket is wanted.";

    SOCKET_STAYS 803 Error "ERROR; what there was stays as it is":
    "A restart could not open the socket or the address of the new configuration.";
    "Correct LuaBalancerSocket or LuaBalancerMetrics listen=, then restart.";

    NO_THREAD 804 Crit "no thread for the control plane's sockets in this child: ERROR":
    "This child does not answer at the socket and the metrics' address; others do.";
    "Raise the limit of threads, then restart.";

    NOT_ANSWERED 805 Crit "the control plane's sockets are not answered by this child: ERROR":
    "This child does not answer at the socket and the metrics' address; others do.";
    "Raise the limit of open files, then restart.";

    SERIES_LEFT_OUT 806 Warn "metrics leave out some of the members' series: there would be more than COUNT \
     (LuaBalancerMetrics max_series=)":
    "There are so many members that metrics leave out those of single members.";
    "Raise max_series= if Prometheus can take more, or switch off histograms= or members=.";

    SOCKET_GONE 807 Warn "the control plane's socket has gone from PATH: REASON; a graceful restart binds it anew":
    "Somebody has removed the socket's file, or put another one in its place. Requests go on; lbctl finds nobody.";
    "Free the path if something else is there, then restart gracefully. Let nothing clear up DefaultRuntimeDir.";
}
