/* SPDX-License-Identifier: Apache-2.0 */
/* The shim's own functions. */
#include "headers.h"

/* One line to the error log; text is never a format. */
void lb_log_server(int level, const server_rec *s, const char *text);
void lb_log_request(int level, const request_rec *r, const char *text);
void lb_log_startup(int level, apr_pool_t *p, const char *text);
int lb_logs_server(const server_rec *s, int level);
int lb_logs_request(const request_rec *r, int level);

/* Macros. */
void *lb_module_config(const ap_conf_vector_t *v, const module *m);
void lb_set_module_config(ap_conf_vector_t *v, const module *m, void *value);
int lb_encoded_slashes_kept(const request_rec *r);

/* A request that no client has sent, in its own connection; NULL without addresses. */
request_rec *lb_describe(apr_pool_t *p, server_rec *s, const char *client, int port, int is_secure);
/* Its virtual host, path and sections, once line and headers are in: 0 or a status. */
int lb_place_described(request_rec *r);
/* The word of SetHandler; it may be an expression. */
const char *lb_set_handler(request_rec *r);
/* Whether there are sections with conditions here. */
int lb_has_conditions(const request_rec *r);
/* A request with fields and tables of its own, in a pool within that of the other one. */
request_rec *lb_copy_request(apr_pool_t *p, const request_rec *r);
const char *lb_http_scheme(const request_rec *r);
unsigned lb_default_port(const request_rec *r);
int lb_client_port(const request_rec *r);

/* A string expression (%{…}) of the configuration; *error on failure. */
const ap_expr_info_t *lb_parse_string_expr(const cmd_parms *cmd, const char *text, const char **error);
const char *lb_eval_string_expr(request_rec *r, const ap_expr_info_t *expr, const char **error);
/* A condition at run time: 1, 0, or -1 with *error. */
void lb_look_at_file(request_rec *r);
int lb_eval_condition(request_rec *r, const char *text, int restricted, const char **error);
/* A text with variables at run time, to be freed, or NULL with *error. */
char *lb_eval_word(request_rec *r, const char *text, int restricted, const char **error);

/* mod_ssl's variable, or NULL without mod_ssl. */
char *lb_ssl_var(request_rec *r, const char *name);

/* The fields of a worker that lie in bit-fields or need a copy of bounded length. */
typedef struct lb_worker_options {
    apr_int64_t hmax, smax, min, ttl_us, acquire_us, timeout_us, conn_timeout_us, ping_us;
    apr_int64_t keepalive, disablereuse, flush_packets, flush_wait_us, iobuffersize, receivebuffersize, responsefieldsize, addressttl_s;
    const char *secret, *upgrade;
} lb_worker_options;
/* -1 stands for "not given". */
void lb_worker_apply(proxy_worker *w, const lb_worker_options *o);
const char *lb_worker_url(const proxy_worker *w);
/* Bytes sent to it by all children, as far as its module counts them. */
apr_off_t *lb_worker_sent(const proxy_worker *w);
/* Bytes received from it, likewise. */
apr_off_t *lb_worker_received(const proxy_worker *w);
void lb_worker_make_usable(proxy_worker *w);
/* All of its connections are in use, and waiting for one has an end (acquire=). */
int lb_worker_is_exhausted(const proxy_worker *w);
int lb_worker_is_idle(const proxy_worker *w);

/* versions.c: the same for every httpd 2.4 from 2.4.37 on. */
enum lb_abilities {
#if LB_HAS_NAME_EX
    LB_LONGEST_URL = sizeof(((proxy_worker_shared *)0)->name_ex) - 1,
#else
    LB_LONGEST_URL = sizeof(((proxy_worker_shared *)0)->name) - 1,
#endif
    LB_KNOWS_SECRET = LB_HAS_SECRET,
    LB_KNOWS_ADDRESS_TTL = LB_HAS_ADDRESS_TTL,
    LB_HTTP_UPGRADES = LB_HAS_PROXY_TUNNEL,
    /* A flag of ap_proxy_canonenc_ex; ap_proxy_canonenc, which has the same form, has none. */
#ifdef PROXY_CANONENC_NOENCODEDSLASHENCODING
    LB_CANONENC_KEEPS_SLASHES = PROXY_CANONENC_NOENCODEDSLASHENCODING
#else
    LB_CANONENC_KEEPS_SLASHES = 0
#endif
};
/* Where httpd has no words for the status, this is another status's line, or "Status N". */
const char *lb_status_line(apr_pool_t *p, int status);
/* No call before 2.4.49. */
void lb_hook_child_stopping(void (*stopping)(apr_pool_t *pchild, int graceful));

/* Whether a body's end is in it. */
int lb_brigade_ends(const apr_bucket_brigade *bb);

/* ProxyPass lines of the request's server, the one of its Location (or NULL), and its
   ProxyPassReverse lines; proxy is mod_proxy. */
const apr_array_header_t *lb_proxy_aliases(const request_rec *r, const module *proxy);
const struct proxy_alias *lb_location_alias(const request_rec *r, const module *proxy);
const apr_array_header_t *lb_reverse_aliases(const request_rec *r, const module *proxy);

/* Whether this process has closed the sockets of its Listen lines. */
int lb_listeners_closed(void);
/* Has mod_status, where it is loaded, call this function for its page. */
void lb_register_status(int (*show)(request_rec *r, int flags));

/* The first bytes of the request's body, at most max, in r->pool; NULL when there is none or it
   cannot be read. The bytes are there for the next reader of the body, through the filter that
   lb_register_body makes known. */
void lb_register_body(void);
/* The bytes that were read of the body before an internal redirect are this request's. */
void lb_carry_body(request_rec *r);
const char *lb_read_body(request_rec *r, apr_size_t max, apr_size_t *length);
