// SPDX-License-Identifier: Apache-2.0
//! Digests and names that httpd and APR bring along.

use crate::ffi;

/// MD5, 16 bytes.
pub fn md5(data: &[u8]) -> [u8; 16] {
    let mut digest = [0; 16];
    // SAFETY: reads `data`, writes 16 bytes.
    unsafe { ffi::apr_md5(digest.as_mut_ptr(), data.as_ptr().cast(), data.len() as ffi::apr_size_t) };
    digest
}

/// SHA-1, 20 bytes.
pub fn sha1(data: &[u8]) -> [u8; 20] {
    let mut digest = [0; 20];
    // SAFETY: a context of this frame; APR takes lengths as unsigned int, so that longer data goes
    // in pieces.
    unsafe {
        let mut context = std::mem::zeroed();
        ffi::apr_sha1_init(&mut context);
        for piece in data.chunks(1 << 30) {
            ffi::apr_sha1_update(&mut context, piece.as_ptr().cast(), piece.len() as u32);
        }
        ffi::apr_sha1_final(digest.as_mut_ptr(), &mut context);
    }
    digest
}

/// httpd's name and version with its system, as in `Apache/2.4.62 (Debian)`, whatever ServerTokens
/// allows.
pub fn server_version() -> String {
    // SAFETY: a string of the configuration, which outlives requests.
    let all = unsafe { super::text(ffi::ap_get_server_description()) };
    let mut words = all.split(' ');
    let name = words.next().unwrap_or_default();
    let system = words.next().filter(|word| word.starts_with('(') && word.ends_with(')'));
    system.map_or_else(|| name.to_owned(), |system| format!("{name} {system}"))
}

/// httpd's name as ServerTokens allows it.
pub fn server_banner() -> &'static [u8] {
    // SAFETY: a string of the configuration, which outlives requests.
    unsafe { super::bytes(ffi::ap_get_server_banner()) }.unwrap_or_default()
}
