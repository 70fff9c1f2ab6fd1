/* SPDX-License-Identifier: Apache-2.0 */
/* httpd's versions differ here. build.rs tries each LB_HAS_… on the headers. No policy here. */
#include "versions.h"

extern module AP_MODULE_DECLARE_DATA lua_balancer_module;

#define WORD(number) APR_STRINGIFY(number)
#define BUILT_FOR WORD(MODULE_MAGIC_NUMBER_MAJOR) ":" WORD(MODULE_MAGIC_NUMBER_MINOR)

/* Called as the module is mapped, before httpd looks at its record. The interface's structures only
   grow while its major number stays: a module that was built for an older minor number finds all
   that it reads. httpd itself compares the major number alone. */
__attribute__((constructor)) static void compare_interfaces(void)
{
    if (core_module.version == MODULE_MAGIC_NUMBER_MAJOR && core_module.minor_version >= MODULE_MAGIC_NUMBER_MINOR) {
        return;
    }
    ap_log_error(NULL, 0, APLOG_NO_MODULE, APLOG_EMERG | APLOG_STARTUP | APLOG_NOERRNO, 0, NULL,
                 "mod_lua_balancer was built for a newer httpd (module magic number " BUILT_FOR
                 ") than this one (%d:%d), whose structures are others: build it with this httpd's apxs",
                 core_module.version, core_module.minor_version);
    lua_balancer_module.version = 0;
}

#if LB_HAS_CREATE_REQUEST
request_rec *lb_create_request(conn_rec *c)
{
    return ap_create_request(c);
}
#else
/* As ap_read_request begins, before 2.4.49. */
request_rec *lb_create_request(conn_rec *c)
{
    apr_pool_t *p;
    request_rec *r;
    apr_pool_create(&p, c->pool);
    r = apr_pcalloc(p, sizeof(*r));
    r->pool = p;
    r->connection = c;
    r->server = c->base_server;
    r->allowed_methods = ap_make_method_list(p, 2);
    r->headers_in = apr_table_make(p, 25);
    r->trailers_in = apr_table_make(p, 5);
    r->subprocess_env = apr_table_make(p, 25);
    r->headers_out = apr_table_make(p, 12);
    r->err_headers_out = apr_table_make(p, 5);
    r->trailers_out = apr_table_make(p, 5);
    r->notes = apr_table_make(p, 5);
    r->request_config = ap_create_request_config(p);
    r->proto_output_filters = c->output_filters;
    r->output_filters = r->proto_output_filters;
    r->proto_input_filters = c->input_filters;
    r->input_filters = r->proto_input_filters;
    ap_run_create_request(r);
    r->per_dir_config = r->server->lookup_defaults;
    r->read_body = REQUEST_NO_BODY;
    r->status = HTTP_OK;
    r->used_path_info = AP_REQ_DEFAULT_PATH_INFO;
    r->useragent_addr = c->client_addr;
    r->useragent_ip = c->client_ip;
    return r;
}
#endif

static int unescape(char *path, const core_dir_config *d)
{
    return d->allow_encoded_slashes ? ap_unescape_url_keep2f(path, d->decode_encoded_slashes) : ap_unescape_url(path);
}

static int merges_slashes(const request_rec *r)
{
#if LB_HAS_MERGE_SLASHES
    core_server_config *s = ap_get_core_module_config(r->server->module_config);
    return s->merge_slashes != AP_CORE_CONFIG_OFF;
#else
    return 0;
#endif
}

#if LB_HAS_NORMALIZE_PATH
int lb_walk_locations(request_rec *r, char *path)
{
    unsigned int flags = AP_NORMALIZE_NOT_ABOVE_ROOT | (merges_slashes(r) ? AP_NORMALIZE_MERGE_SLASHES : 0);
    core_dir_config *d;
    int status;
    if (path && !ap_normalize_path(path, flags | AP_NORMALIZE_DECODE_UNRESERVED)) {
        return HTTP_BAD_REQUEST;
    }
    if ((status = ap_location_walk(r))) {
        return status;
    }
    d = ap_get_core_module_config(r->per_dir_config);
    if (path) {
        if ((status = unescape(path, d))) {
            return status;
        }
        if (d->allow_encoded_slashes && d->decode_encoded_slashes) {
            ap_normalize_path(path, flags);
        }
    }
    return ap_location_walk(r);
}
#else
int lb_walk_locations(request_rec *r, char *path)
{
    int status;
    if (path) {
        if ((status = unescape(path, ap_get_core_module_config(r->per_dir_config)))) {
            return status;
        }
        ap_getparents(path);
        /* A path that goes above the root has lost its slash: httpd's core refuses it. */
        if (path[0] != '/' && strcmp(path, "*")) {
            return HTTP_BAD_REQUEST;
        }
        if (merges_slashes(r)) {
            ap_no2slash(path);
        }
    }
    return ap_location_walk(r);
}
#endif

const char *lb_status_line(apr_pool_t *p, int status)
{
#if LB_HAS_STATUS_LINE_EX
    return ap_get_status_line_ex(p, status);
#else
    return ap_get_status_line(status);
#endif
}

void lb_hook_child_stopping(void (*stopping)(apr_pool_t *pchild, int graceful))
{
#if LB_HAS_CHILD_STOPPING
    ap_hook_child_stopping(stopping, NULL, NULL, APR_HOOK_MIDDLE);
#endif
}

void lb_worker_apply_newer(proxy_worker_shared *s, const lb_worker_options *o)
{
#if LB_HAS_ADDRESS_TTL
    if (o->addressttl_s >= 0) { s->address_ttl = (apr_int32_t)o->addressttl_s; s->address_ttl_set = 1; }
#endif
#if LB_HAS_SECRET
    if (o->secret) apr_cpystrn(s->secret, o->secret, sizeof(s->secret));
#endif
}

const char *lb_worker_url(const proxy_worker *w)
{
#if LB_HAS_NAME_EX
    return w->s->name_ex;
#else
    return w->s->name;
#endif
}
