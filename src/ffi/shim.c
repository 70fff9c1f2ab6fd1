/* SPDX-License-Identifier: Apache-2.0 */
/* Macros and varargs of httpd's API, as plain functions. No policy here. */
#include "versions.h"
#include "mod_ssl.h"
#include "apr_optional.h"

extern module AP_MODULE_DECLARE_DATA lua_balancer_module;
APLOG_USE_MODULE(lua_balancer);

void lb_log_server(int level, const server_rec *s, const char *text)
{
    ap_log_error(NULL, 0, APLOG_MODULE_INDEX, level | APLOG_NOERRNO, 0, s, "%s", text);
}

void lb_log_request(int level, const request_rec *r, const char *text)
{
    ap_log_rerror(NULL, 0, APLOG_MODULE_INDEX, level | APLOG_NOERRNO, 0, r, "%s", text);
}

void lb_log_startup(int level, apr_pool_t *p, const char *text)
{
    ap_log_perror(NULL, 0, APLOG_MODULE_INDEX, level | APLOG_STARTUP, 0, p, "%s", text);
}

int lb_logs_server(const server_rec *s, int level)
{
    return APLOG_MODULE_IS_LEVEL(s, APLOG_MODULE_INDEX, level);
}

int lb_logs_request(const request_rec *r, int level)
{
    return APLOG_R_MODULE_IS_LEVEL(r, APLOG_MODULE_INDEX, level);
}

void *lb_module_config(const ap_conf_vector_t *v, const module *m)
{
    return ap_get_module_config(v, m);
}

void lb_set_module_config(ap_conf_vector_t *v, const module *m, void *value)
{
    ap_set_module_config(v, m, value);
}

int lb_encoded_slashes_kept(const request_rec *r)
{
    core_dir_config *d = ap_get_core_module_config(r->per_dir_config);
    return d->allow_encoded_slashes && !d->decode_encoded_slashes;
}

/* Where a request comes in: at this port, if the server listens there. Otherwise the first of the
 * configuration for the scheme, or the first of all. The list has the last one first. */
static const ap_listen_rec *lb_listener(int port, int is_secure)
{
    const ap_listen_rec *l, *first = NULL, *alike = NULL;
    for (l = ap_listeners; l; l = l->next) {
        if (port && l->bind_addr->port == port) {
            return l;
        }
        first = l;
        if ((l->protocol && strcasecmp(l->protocol, "https") == 0) == is_secure) {
            alike = l;
        }
    }
    return alike ? alike : first;
}

request_rec *lb_describe(apr_pool_t *p, server_rec *s, const char *client, int port, int is_secure)
{
    /* As in lb_copy_request. */
    conn_rec *c = apr_pcalloc(p, sizeof(*c) + 1024);
    const ap_listen_rec *at = lb_listener(port, is_secure);
    char *ip = NULL;
    if (at) {
        port = at->bind_addr->port;
        apr_sockaddr_ip_get(&ip, at->bind_addr);
    }
    if (apr_sockaddr_info_get(&c->local_addr, ip ? ip : "127.0.0.1", APR_UNSPEC, port ? port : 80, 0, p)
        || apr_sockaddr_info_get(&c->client_addr, client, APR_UNSPEC, 0, 0, p)) {
        return NULL;
    }
    c->local_ip = ip ? ip : "127.0.0.1";
    c->client_ip = apr_pstrdup(p, client);
    c->pool = p;
    c->base_server = s;
    c->conn_config = ap_create_conn_config(p);
    c->notes = apr_table_make(p, 4);
    c->bucket_alloc = apr_bucket_alloc_create(p);
    c->keepalive = AP_CONN_CLOSE;
    ap_update_vhost_given_ip(c);
    return lb_create_request(c);
}

request_rec *lb_copy_request(apr_pool_t *p, const request_rec *r)
{
    /* A later httpd of the same interface may have fields behind those of the headers: zeros. */
    request_rec *copy = apr_pcalloc(p, sizeof(*r) + 1024);
    const module *m;
    *copy = *r;
    copy->pool = p;
    copy->headers_in = apr_table_copy(p, r->headers_in);
    copy->headers_out = apr_table_copy(p, r->headers_out);
    copy->err_headers_out = apr_table_copy(p, r->err_headers_out);
    copy->notes = apr_table_copy(p, r->notes);
    copy->subprocess_env = apr_table_copy(p, r->subprocess_env);
    copy->request_config = ap_create_request_config(p);
    for (m = ap_top_module; m; m = m->next) {
        ap_set_module_config(copy->request_config, m, ap_get_module_config(r->request_config, m));
    }
    return copy;
}

int lb_place_described(request_rec *r)
{
    ap_update_vhost_from_headers(r);
    r->per_dir_config = r->server->lookup_defaults;
    return r->status != HTTP_OK ? r->status : lb_walk_locations(r, r->parsed_uri.path);
}

const char *lb_set_handler(request_rec *r)
{
    core_dir_config *d = ap_get_core_module_config(r->per_dir_config);
    const char *error = NULL, *name;
    if (!d->expr_handler) {
        return d->handler;
    }
    name = ap_expr_str_exec(r, d->expr_handler, &error);
    return error ? NULL : name;
}

int lb_has_conditions(const request_rec *r)
{
    core_dir_config *d = ap_get_core_module_config(r->per_dir_config);
    return d->sec_if && d->sec_if->nelts > 0;
}

const char *lb_http_scheme(const request_rec *r)
{
    return ap_http_scheme(r);
}

unsigned lb_default_port(const request_rec *r)
{
    return ap_default_port(r);
}

int lb_client_port(const request_rec *r)
{
    return r->useragent_addr ? r->useragent_addr->port : 0;
}

const ap_expr_info_t *lb_parse_string_expr(const cmd_parms *cmd, const char *text, const char **error)
{
    return ap_expr_parse_cmd(cmd, text, AP_EXPR_FLAG_STRING_RESULT, error, NULL);
}

const char *lb_eval_string_expr(request_rec *r, const ap_expr_info_t *expr, const char **error)
{
    return ap_expr_str_exec(r, expr, error);
}

void lb_look_at_file(request_rec *r)
{
    if (!r->filename || apr_stat(&r->finfo, r->filename, APR_FINFO_MIN, r->pool) != APR_SUCCESS) {
        r->finfo.filetype = APR_NOFILE;
    }
}

/* Trees and texts that are made on the way go with a pool of their own. The names that an
   expression adds to the header Vary * are added once, however often it is evaluated. */
static int eval(request_rec *r, const char *text, int flags, char **word, const char **error)
{
    ap_regmatch_t matches[AP_MAX_REG_MATCH];
    const char *result = NULL;
    const char *source = NULL, *vary = NULL, *before;
    ap_expr_eval_ctx_t ctx;
    ap_expr_info_t *info;
    apr_pool_t *p;
    int rc = -1;

    if (apr_pool_create(&p, r->pool) != APR_SUCCESS) {
        *error = "no memory";
        return -1;
    }
    info = apr_pcalloc(p, sizeof(*info));
    info->filename = "script";
    info->module_index = APLOG_MODULE_INDEX;
    info->flags = flags;
    *error = ap_expr_parse(p, p, info, text, NULL);
    if (!*error) {
        before = apr_table_get(r->headers_out, "Vary");
        memset(&ctx, 0, sizeof(ctx));
        ctx.r = r;
        ctx.c = r->connection;
        ctx.s = r->server;
        ctx.p = p;
        ctx.err = error;
        ctx.info = info;
        ctx.re_pmatch = matches;
        ctx.re_nmatch = AP_MAX_REG_MATCH;
        ctx.re_source = &source;
        ctx.vary_this = &vary;
        ctx.result_string = &result;
        rc = ap_expr_exec_ctx(&ctx);
        if (vary && before && ap_strstr_c(before, vary)) {
            apr_table_setn(r->headers_out, "Vary", before);
        }
    }
    if (word && !*error && !(*word = strdup(result ? result : ""))) {
        *error = "no memory";
    }
    if (*error) {
        *error = apr_pstrdup(r->pool, *error);
        rc = -1;
    }
    apr_pool_destroy(p);
    return *error ? -1 : rc > 0;
}

int lb_eval_condition(request_rec *r, const char *text, int restricted, const char **error)
{
    return eval(r, text, restricted ? AP_EXPR_FLAG_RESTRICTED : 0, NULL, error);
}

char *lb_eval_word(request_rec *r, const char *text, int restricted, const char **error)
{
    char *word = NULL;
    int flags = AP_EXPR_FLAG_STRING_RESULT | (restricted ? AP_EXPR_FLAG_RESTRICTED : 0);
    eval(r, text, flags, &word, error);
    return word;
}

char *lb_ssl_var(request_rec *r, const char *name)
{
    APR_OPTIONAL_FN_TYPE(ssl_var_lookup) *lookup = APR_RETRIEVE_OPTIONAL_FN(ssl_var_lookup);
    if (!lookup) {
        return NULL;
    }
    return lookup(r->pool, r->server, r->connection, r, (char *)apr_pstrdup(r->pool, name));
}

void lb_worker_apply(proxy_worker *w, const lb_worker_options *o)
{
    proxy_worker_shared *s = w->s;
    if (o->hmax >= 0) s->hmax = (int)o->hmax;
    if (o->smax >= 0) s->smax = (int)o->smax;
    if (o->min >= 0) s->min = (int)o->min;
    if (o->ttl_us >= 0) s->ttl = o->ttl_us;
    if (o->acquire_us >= 0) { s->acquire = o->acquire_us; s->acquire_set = 1; }
    if (o->timeout_us >= 0) { s->timeout = o->timeout_us; s->timeout_set = 1; }
    if (o->conn_timeout_us >= 0) { s->conn_timeout = o->conn_timeout_us; s->conn_timeout_set = 1; }
    if (o->ping_us >= 0) { s->ping_timeout = o->ping_us; s->ping_timeout_set = 1; }
    if (o->keepalive >= 0) { s->keepalive = o->keepalive != 0; s->keepalive_set = 1; }
    if (o->disablereuse >= 0) { s->disablereuse = o->disablereuse != 0; s->disablereuse_set = 1; }
    if (o->flush_packets >= 0) s->flush_packets = (int)o->flush_packets;
    if (o->flush_wait_us >= 0) s->flush_wait = (int)o->flush_wait_us;
    if (o->iobuffersize >= 0) { s->io_buffer_size = (apr_size_t)o->iobuffersize; s->io_buffer_size_set = 1; }
    if (o->receivebuffersize >= 0) { s->recv_buffer_size = (apr_size_t)o->receivebuffersize; s->recv_buffer_size_set = 1; }
    if (o->responsefieldsize >= 0) { s->response_field_size = (apr_size_t)o->responsefieldsize; s->response_field_size_set = 1; }
    lb_worker_apply_newer(s, o);
    if (o->upgrade) apr_cpystrn(s->upgrade, o->upgrade, sizeof(s->upgrade));
}

apr_off_t *lb_worker_sent(const proxy_worker *w)
{
    return &w->s->transferred;
}

apr_off_t *lb_worker_received(const proxy_worker *w)
{
    return &w->s->read;
}

void lb_worker_make_usable(proxy_worker *w)
{
    w->s->status |= PROXY_WORKER_INITIALIZED | PROXY_WORKER_IGNORE_ERRORS;
}

const apr_array_header_t *lb_proxy_aliases(const request_rec *r, const module *proxy)
{
    proxy_server_conf *conf = ap_get_module_config(r->server->module_config, proxy);
    return conf->aliases;
}

const struct proxy_alias *lb_location_alias(const request_rec *r, const module *proxy)
{
    proxy_dir_conf *conf = ap_get_module_config(r->per_dir_config, proxy);
    return conf->alias;
}

const apr_array_header_t *lb_reverse_aliases(const request_rec *r, const module *proxy)
{
    proxy_dir_conf *conf = ap_get_module_config(r->per_dir_config, proxy);
    if (conf->interpolate_env == 1) {
        proxy_req_conf *own = ap_get_module_config(r->request_config, proxy);
        if (own && own->raliases) {
            return own->raliases;
        }
    }
    return conf->raliases;
}

/* A body that was looked at: what was read of it, to be given out again. */
typedef struct lb_body {
    apr_bucket_brigade *kept;
    apr_status_t failed;
} lb_body;

static ap_filter_rec_t *body_filter;

static apr_status_t give_body(ap_filter_t *f, apr_bucket_brigade *out, ap_input_mode_t mode,
                              apr_read_type_e block, apr_off_t most)
{
    lb_body *body = f->ctx;
    apr_bucket *end;
    apr_status_t rc;
    if (APR_BRIGADE_EMPTY(body->kept)) {
        if (body->failed) {
            return body->failed;
        }
        return ap_get_brigade(f->next, out, mode, block, most);
    }
    if (mode == AP_MODE_INIT) {
        return APR_SUCCESS;
    }
    if (mode == AP_MODE_GETLINE) {
        return apr_brigade_split_line(out, body->kept, block, HUGE_STRING_LEN);
    }
    if (mode == AP_MODE_EXHAUSTIVE || most <= 0) {
        APR_BRIGADE_CONCAT(out, body->kept);
        return APR_SUCCESS;
    }
    rc = apr_brigade_partition(body->kept, most, &end);
    if (rc != APR_SUCCESS && rc != APR_INCOMPLETE) {
        return rc;
    }
    while (!APR_BRIGADE_EMPTY(body->kept) && APR_BRIGADE_FIRST(body->kept) != end) {
        apr_bucket *e = APR_BRIGADE_FIRST(body->kept);
        if (mode == AP_MODE_SPECULATIVE) {
            apr_bucket *copy;
            for (; e != end && e != APR_BRIGADE_SENTINEL(body->kept); e = APR_BUCKET_NEXT(e)) {
                if ((rc = apr_bucket_copy(e, &copy)) != APR_SUCCESS) {
                    return rc;
                }
                APR_BRIGADE_INSERT_TAIL(out, copy);
            }
            return APR_SUCCESS;
        }
        APR_BUCKET_REMOVE(e);
        APR_BRIGADE_INSERT_TAIL(out, e);
    }
    /* The end of the body comes with its last bytes, as it does from httpd's own filter. */
    if (!APR_BRIGADE_EMPTY(body->kept) && APR_BUCKET_IS_EOS(APR_BRIGADE_FIRST(body->kept))) {
        apr_bucket *e = APR_BRIGADE_FIRST(body->kept);
        APR_BUCKET_REMOVE(e);
        APR_BRIGADE_INSERT_TAIL(out, e);
    }
    return APR_SUCCESS;
}

void lb_register_body(void)
{
    /* Next to the filter that takes chunks and lengths away, so that all filters of content see the
       body as they would have. */
    body_filter = ap_register_input_filter("LUA_BALANCER_KEPT", give_body, NULL, AP_FTYPE_PROTOCOL - 1);
}

void lb_carry_body(request_rec *r)
{
    request_rec *from;
    ap_filter_t *f;
    for (f = r->input_filters; f; f = f->next) {
        if (f->frec == body_filter) {
            return;
        }
    }
    for (from = r->prev; from; from = from->prev) {
        for (f = from->input_filters; f; f = f->next) {
            if (f->frec == body_filter) {
                ap_add_input_filter_handle(body_filter, f->ctx, r, r->connection);
                return;
            }
        }
    }
}

static ap_filter_t *own_body_filter(request_rec *r)
{
    ap_filter_t *f;
    lb_body *body;
    lb_carry_body(r);
    for (f = r->input_filters; f; f = f->next) {
        if (f->frec == body_filter && f->r == r) {
            return f;
        }
    }
    body = apr_palloc(r->pool, sizeof(*body));
    body->kept = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    body->failed = APR_SUCCESS;
    return ap_add_input_filter_handle(body_filter, body, r, r->connection);
}

/* Reads until that much is kept, or all there is. */
static apr_size_t keep_body(ap_filter_t *f, request_rec *r, apr_size_t max)
{
    lb_body *body = f->ctx;
    apr_bucket_brigade *more = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    apr_off_t length = 0, come = 0;
    /* Measured once: a body may come in very many chunks of a byte. */
    apr_brigade_length(body->kept, 1, &length);
    for (;;) {
        apr_bucket *last = APR_BRIGADE_LAST(body->kept);
        if ((apr_size_t)length >= max || body->failed
            || (last != APR_BRIGADE_SENTINEL(body->kept) && APR_BUCKET_IS_EOS(last))) {
            break;
        }
        body->failed = ap_get_brigade(f->next, more, AP_MODE_READBYTES, APR_BLOCK_READ, HUGE_STRING_LEN);
        if (body->failed == APR_SUCCESS && APR_BRIGADE_EMPTY(more)) {
            body->failed = APR_EOF;
        }
        /* The buckets' memory may be the reader's own until they are set aside. */
        for (last = APR_BRIGADE_FIRST(more); last != APR_BRIGADE_SENTINEL(more); last = APR_BUCKET_NEXT(last)) {
            apr_bucket_setaside(last, r->pool);
        }
        come = 0;
        apr_brigade_length(more, 1, &come);
        length += come;
        APR_BRIGADE_CONCAT(body->kept, more);
    }
    apr_brigade_destroy(more);
    return (apr_size_t)length < max ? (apr_size_t)length : max;
}

const char *lb_read_body(request_rec *r, apr_size_t max, apr_size_t *length)
{
    lb_body *body;
    ap_filter_t *f;
    char *text;
    if (!ap_request_has_body(r)) {
        return NULL;
    }
    f = own_body_filter(r);
    body = f->ctx;
    *length = keep_body(f, r, max);
    if (body->failed && !*length) {
        return NULL;
    }
    text = apr_palloc(r->pool, *length + 1);
    if (apr_brigade_flatten(body->kept, text, length) != APR_SUCCESS) {
        return NULL;
    }
    text[*length] = '\0';
    return text;
}

int lb_brigade_ends(const apr_bucket_brigade *bb)
{
    return !APR_BRIGADE_EMPTY(bb) && APR_BUCKET_IS_EOS(APR_BRIGADE_LAST(bb));
}

int lb_worker_is_exhausted(const proxy_worker *w)
{
    return w->s->acquire_set && w->s->hmax > 0 && w->cp && w->cp->res
           && apr_reslist_acquired_count(w->cp->res) >= (apr_uint32_t)w->s->hmax;
}

int lb_worker_is_idle(const proxy_worker *w)
{
    return !w->cp || !w->cp->res || apr_reslist_acquired_count(w->cp->res) == 0;
}

int lb_listeners_closed(void)
{
    const ap_listen_rec *each;
    for (each = ap_listeners; each; each = each->next) {
        if (each->active) {
            return 0;
        }
    }
    return ap_listeners != NULL;
}

void lb_register_status(int (*show)(request_rec *r, int flags))
{
    APR_OPTIONAL_HOOK(ap, status_hook, show, NULL, NULL, APR_HOOK_MIDDLE);
}
