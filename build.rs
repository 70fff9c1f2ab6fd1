//! Asks apxs for httpd's headers and flags, makes narrow bindings with bindgen, compiles the shim (macros and varargs).

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-env-changed=APXS");
    println!("cargo:rerun-if-changed=src/ffi/wrapper.h");
    println!("cargo:rerun-if-changed=src/ffi/shim.c");
    let apxs = find_apxs();
    let flags = compiler_flags(&apxs);
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_else(|| fail("OUT_DIR is not set")));
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

fn bindings(flags: &[String], out: &std::path::Path) {
    let result = bindgen::Builder::default()
        .header("src/ffi/wrapper.h")
        .clang_args(flags)
        .allowlist_type(
            "request_rec|server_rec|conn_rec|module|command_rec|cmd_parms|ap_directive_t|proxy_worker|proxy_worker_shared|\
             proxy_balancer|proxy_server_conf|proxy_dir_conf|proxy_alias|apr_table_entry_t|apr_array_header_t|ap_regmatch_t|ap_regex_t|ap_filter_t|ap_generation_t|mpm_child_status|enctype|lb_.*",
        )
        .allowlist_function(
            "apr_pool_.*|apr_palloc|apr_pstrmemdup|apr_table_.*|apr_array_.*|apr_time_now|apr_allocator_.*|apr_thread_mutex_create|\
             ap_hook_(create_connection|pre_config|check_config|post_config|drop_privileges|child_init|child_status|child_stopping|quick_handler|translate_name|fixups|log_transaction|test_config)|\
             ap_hook_get_fixups|ap_walk_config|ap_create_per_dir_config|ap_check_cmd_context|ap_getword_conf|ap_mpm_query|ap_state_query|\
             ap_retained_.*|apr_pool_cleanup_.*|ap_expr_parse_cmd_mi|ap_expr_str_exec|ap_expr_exec|ap_pregcomp|ap_regexec_len|ap_pregfree|ap_register_output_filter|ap_register_input_filter|ap_add_input_filter_handle|ap_get_brigade|ap_remove_output_filter|ap_add_output_filter|ap_pass_brigade|\
             ap_construct_url|ap_custom_response|ap_rwrite|ap_get_server_name|ap_get_server_port|ap_document_root|ap_run_http_scheme|ap_get_useragent_host|\
             ap_auth_type|ap_context_.*|ap_get_server_banner|ap_get_status_line_ex|ap_get_server_name_for_url|ap_add_output_filter_handle|ap_os_escape_path|ap_server_root_relative|ap_parse_form_data|\
             ap_scan_vchar_obstext|ap_find_linked_module|ap_exists_config_define|ap_merge_per_dir_configs|apr_fnmatch|ap_request_has_body|ap_log_rerror_|ap_core_translate|apr_sha1_.*|apr_md5.*|apr_brigade_.*|\
             apr_proc_other_child_register|apr_proc_other_child_unregister|\
             ap_rvputs|ap_set_content_length|ap_get_conn_socket|ap_runtime_dir_relative|apr_os_sock_get|ap_send_interim_response|lb_.*",
        )
        .allowlist_var(
            "MODULE_MAGIC_NUMBER_M.*|MODULE_MAGIC_COOKIE|OK|DECLINED|DONE|HTTP_.*|AP_REG_.*|AP_FTYPE_.*|PROXY_CANONENC_.*|PROXYREQ_.*|PROXYPASS_NOCANON|M_[A-Z]+|APLOG_.*|AP_MPMQ_.*|AP_SQ_.*|\
             OR_.*|RSRC_CONF|ACCESS_CONF|EXEC_ON_READ|APR_HOOK_.*|APR_SUCCESS|NOT_IN_.*|GLOBAL_ONLY|PROXY_WORKER_.*|AP_CONN_.*|LB_.*|\
             ap_server_conf|ap_conftree|ap_unixd_config|APR_OC_REASON_.*|apr_hook_debug_current|apr_hook_global_pool|ap_.*_module",
        )
        .blocklist_function("lb_unused.*")
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
        .warnings(true)
        .extra_warnings(false)
        .flag("-fvisibility=hidden")
        .compile("lb_shim");
}

fn fail(message: &str) -> ! {
    eprintln!("mod_lua_balancer: {message}");
    std::process::exit(1)
}
