// SPDX-License-Identifier: Apache-2.0
//! Asks apxs for httpd's headers and flags, makes narrow bindings with bindgen, compiles the shim
//! (macros and varargs).

use std::env;
use std::path::PathBuf;
use std::process::Command;

/// The functions of httpd and APR that are called, besides those of the shim. `make lint` checks
/// that each is.
const FUNCTIONS: &str = "
    ap_add_input_filter_handle ap_add_output_filter_handle ap_auth_type ap_construct_url
    ap_context_document_root ap_context_prefix ap_create_per_dir_config ap_custom_response
    ap_document_root ap_exists_config_define ap_find_linked_module ap_get_brigade
    ap_get_conn_socket ap_get_server_banner ap_get_server_description ap_get_server_name ap_get_server_name_for_url
    ap_get_server_port ap_hook_check_config ap_hook_child_init
    ap_hook_child_status ap_hook_create_connection
    ap_hook_drop_privileges ap_hook_fixups ap_hook_get_fixups ap_hook_handler ap_hook_log_transaction ap_hook_monitor
    ap_hook_post_config ap_hook_pre_config ap_hook_pre_connection ap_hook_quick_handler ap_hook_translate_name ap_merge_per_dir_configs
    ap_mpm_query ap_method_number_of ap_parse_uri ap_pass_brigade ap_pregcomp ap_pregfree ap_regcomp_get_default_cflags
    ap_regexec_len ap_register_input_filter ap_regname apr_array_make
    ap_register_output_filter ap_remove_output_filter ap_request_has_body
    ap_retained_data_create ap_retained_data_get ap_runtime_dir_relative ap_rwrite
    ap_scan_vchar_obstext ap_send_interim_response ap_set_content_type ap_server_root_relative ap_state_query
    ap_walk_config apr_allocator_create apr_allocator_max_free_set apr_allocator_mutex_set apr_allocator_owner_set
    apr_fnmatch apr_md5 apr_os_sock_get apr_palloc apr_pool_cleanup_null
    apr_pool_cleanup_register apr_pool_create_ex apr_pool_create_unmanaged_ex apr_pool_destroy apr_pool_pre_cleanup_register
    apr_pool_userdata_get apr_pool_userdata_setn apr_proc_other_child_register
    apr_proc_other_child_unregister apr_pstrmemdup apr_sha1_final apr_sha1_init apr_sha1_update
    apr_table_add apr_table_addn apr_table_elts apr_table_get apr_table_set apr_table_setn
    apr_table_unset apr_thread_mutex_create
";

/// Differences between versions of httpd 2.4: the macro's name for the shim, and C that compiles
/// where the thing is there.
const PROBES: [(&str, &str); 9] = [
    ("LB_HAS_ADDRESS_TTL", "proxy_worker_shared s; s.address_ttl = 1;"),
    ("LB_HAS_CHILD_STOPPING", "ap_hook_child_stopping(0, 0, 0, 0);"),
    ("LB_HAS_CREATE_REQUEST", "request_rec *r = ap_create_request(0); (void)r;"),
    ("LB_HAS_MERGE_SLASHES", "core_server_config s; s.merge_slashes = 1;"),
    ("LB_HAS_NAME_EX", "proxy_worker_shared s; s.name_ex[0] = 0;"),
    ("LB_HAS_NORMALIZE_PATH", "ap_normalize_path(0, AP_NORMALIZE_MERGE_SLASHES);"),
    // mod_proxy_http upgrades connections since it has tunnels.
    ("LB_HAS_PROXY_TUNNEL", "proxy_tunnel_rec t; (void)t;"),
    ("LB_HAS_SECRET", "proxy_worker_shared s; s.secret[0] = 0;"),
    ("LB_HAS_STATUS_LINE_EX", "const char *s = ap_get_status_line_ex(0, 0); (void)s;"),
];

fn main() {
    println!("cargo:rerun-if-env-changed=APXS");
    for name in ["headers.h", "wrapper.h", "shim.c", "versions.h", "versions.c"] {
        println!("cargo:rerun-if-changed=src/ffi/{name}");
    }
    let apxs = find_apxs();
    for folder in query(&apxs, "INCLUDEDIR") {
        println!("cargo:rerun-if-changed={folder}/ap_mmn.h");
    }
    let mut flags = compiler_flags(&apxs);
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_else(|| fail("OUT_DIR is not set")));
    flags.extend(probe(&flags, &out));
    bindings(&flags, &out);
    shim(&flags);
}

fn find_apxs() -> String {
    let candidates =
        env::var("APXS").map(|own| vec![own]).unwrap_or_else(|_| vec!["apxs2".into(), "apxs".into()]);
    for apxs in &candidates {
        if let Ok(answer) = Command::new(apxs).args(["-q", "INCLUDEDIR"]).output()
            && answer.status.success()
        {
            return apxs.clone();
        }
    }
    fail(&format!(
        "no working apxs among {candidates:?}: install httpd's development files (Debian: apt-get install apache2-dev) \
         or name the program in the environment variable APXS"
    ))
}

fn query(apxs: &str, name: &str) -> Vec<String> {
    let answer = Command::new(apxs).args(["-q", name]).output();
    let text = answer.ok().filter(|a| a.status.success()).map(|a| a.stdout).unwrap_or_default();
    String::from_utf8_lossy(&text).split_whitespace().map(str::to_owned).collect()
}

fn compiler_flags(apxs: &str) -> Vec<String> {
    let mut flags: Vec<String> =
        query(apxs, "INCLUDEDIR").into_iter().map(|dir| format!("-I{dir}")).collect();
    for name in ["EXTRA_INCLUDES", "APR_INCLUDEDIR", "APU_INCLUDEDIR"] {
        for word in query(apxs, name) {
            let word = if word.starts_with('/') { format!("-I{word}") } else { word };
            if word.starts_with("-I/") && !flags.contains(&word) {
                flags.push(word);
            }
        }
    }
    flags.extend(query(apxs, "EXTRA_CPPFLAGS").into_iter().filter(|word| word.starts_with("-D")));
    flags
}

/// The macros of [`PROBES`]: `-DNAME=1` or `-DNAME=0`.
fn probe(flags: &[String], out: &std::path::Path) -> Vec<String> {
    let compiler = cc::Build::new().cargo_metadata(false).get_compiler();
    let file = out.join("probe.c");
    let headers = std::path::absolute("src/ffi/headers.h").unwrap_or_default();
    let compiles = |body: &str| {
        let text = format!("#include \"{}\"\nvoid probe(void) {{ {body} }}\n", headers.display());
        if let Err(error) = std::fs::write(&file, text) {
            fail(&format!("cannot write {}: {error}", file.display()));
        }
        let strict = ["-fsyntax-only", "-Werror=implicit-function-declaration"];
        let mut command = compiler.to_command();
        let tried = command.args(flags).args(strict).arg(&file).output();
        tried.is_ok_and(|tried| tried.status.success())
    };
    PROBES.iter().map(|(name, body)| format!("-D{name}={}", i32::from(compiles(body)))).collect()
}

fn bindings(flags: &[String], out: &std::path::Path) {
    let builder = FUNCTIONS
        .split_whitespace()
        .fold(bindgen::Builder::default(), |builder, name| builder.allowlist_function(name));
    let result = builder
        .header("src/ffi/wrapper.h")
        .clang_args(flags)
        .allowlist_type(
            "request_rec|server_rec|conn_rec|module|command_rec|cmd_parms|ap_directive_t|proxy_worker|proxy_worker_shared|\
             proxy_balancer|proxy_server_conf|proxy_dir_conf|proxy_alias|apr_table_entry_t|apr_array_header_t|ap_regmatch_t|ap_regex_t|ap_filter_t|ap_generation_t|mpm_child_status|enctype|lb_.*",
        )
        .allowlist_function("lb_.*")
        .allowlist_var(
            "MODULE_MAGIC_NUMBER_M.*|MODULE_MAGIC_COOKIE|OK|DECLINED|DONE|HTTP_.*|AP_REG_.*|AP_FTYPE_.*|PROXY_CANONENC_.*|PROXYREQ_.*|PROXYPASS_NOCANON|PROXYPASS_INTERPOLATE|M_[A-Z]+|APLOG_.*|AP_MPMQ_.*|AP_SQ_.*|\
             OR_.*|RSRC_CONF|ACCESS_CONF|EXEC_ON_READ|APR_HOOK_.*|APR_SUCCESS|NOT_IN_.*|GLOBAL_ONLY|PROXY_WORKER_.*|AP_CONN_.*|AP_STATUS_SHORT|LB_.*|\
             ap_server_conf|ap_pid_fname|ap_conftree|ap_unixd_config|APR_OC_REASON_.*|apr_hook_debug_current|apr_hook_global_pool|ap_.*_module",
        )
        .layout_tests(false)
        .generate_comments(false)
        .derive_default(false)
        .prepend_enum_name(false)
        .formatter(bindgen::Formatter::None)
        .generate();
    match result {
        Ok(bindings) => {
            if let Err(error) = bindings.write_to_file(out.join("bindings.rs")) {
                fail(&format!("cannot write the bindings: {error}"));
            }
        }
        Err(error) => fail(&format!("bindgen failed: {error} (Debian: apt-get install libclang-dev)")),
    }
}

fn shim(flags: &[String]) {
    let mut build = cc::Build::new();
    for flag in flags {
        build.flag(flag);
    }
    build
        .file("src/ffi/shim.c")
        .file("src/ffi/versions.c")
        .warnings(true)
        .extra_warnings(false)
        .flag("-fvisibility=hidden")
        .flag("-Werror=implicit-function-declaration")
        .compile("lb_shim");
}

#[expect(clippy::disallowed_methods, reason = "a build ends so, no server")]
fn fail(message: &str) -> ! {
    eprintln!("mod_lua_balancer: {message}");
    std::process::exit(1)
}
