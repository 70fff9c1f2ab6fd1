/* SPDX-License-Identifier: Apache-2.0 */
/* Functions of versions.c for the shim alone. */
#include "wrapper.h"

request_rec *lb_create_request(conn_rec *c);
/* Normalises the path as httpd does, and finds its sections: 0 or a status. */
int lb_walk_locations(request_rec *r, char *path);
/* The options that not every httpd has. */
void lb_worker_apply_newer(proxy_worker_shared *s, const lb_worker_options *o);
