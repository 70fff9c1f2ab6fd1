// SPDX-License-Identifier: Apache-2.0
//! Scripts that were written for mod_lua or OpenResty, with the names that they use; stock httpd
//! with mod_lua beside it where it is the reference.

mod modules;
mod scripts;

use server_tests::{
    Backend, Builder, Httpd, Mpm, Request, Response, certificate, on_every_mpm, patience, pool,
};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(15);

/// httpd as it comes, with mod_lua, which looks for scripts where `LuaRoot` says.
fn stock() -> Builder {
    let builder = Httpd::builder().stock().module("lua");
    let root = format!("LuaRoot {:?}", builder.dir());
    builder.config(&root)
}

fn text(response: &Response) -> String {
    response.text().trim_end().to_owned()
}

/// The fields that mod_lua's LuaHookFixups and LuaHookSelect see alike.
const SEES: &str = r#"
function sees(r)
  local env = r.subprocess_env
  local seen = {}
  for _, name in ipairs{ "SET", "PASSED", "IF", "RULE", "SSL_PROTOCOL", "SSL_SERVER_S_DN_CN", "HTTPS" } do
    seen[#seen + 1] = name .. "=" .. tostring(env[name])
  end
  r.err_headers_out["X-Saw"] = table.concat(seen, " ")
  return 404
end
"#;

const ENVIRONMENT: &str = "SetEnv SET by-mod_env\nSetEnvIf Request_URI . IF=by-setenvif\n\
    <Location />\nSetEnv PASSED in-a-section\nRewriteEngine on\nRewriteRule .* - [E=RULE:by-a-section]\n\
    SSLOptions +StdEnvVars\nHOOK\n</Location>\n\
    SSLEngine on\nSSLCertificateFile cert.pem\nSSLCertificateKeyFile key.pem";

fn seen_over_tls(builder: Builder, hook: &str) -> String {
    certificate::self_signed(builder.dir());
    let httpd = builder.file("sees.lua", SEES).config(&ENVIRONMENT.replace("HOOK", hook)).start();
    let url = format!("https://127.0.0.1:{}/x", httpd.port());
    let answer = Command::new("curl").args(["-sk", "--tlsv1.3", "-D", "-", &url]).output().expect("run curl");
    let head = String::from_utf8_lossy(&answer.stdout).into_owned();
    let line = head.lines().find_map(|line| line.strip_prefix("X-Saw: "));
    line.unwrap_or_else(|| panic!("no X-Saw: {head}\n{}", httpd.error_log())).to_owned()
}

/// A FastCGI server that answers with the SCRIPT_FILENAME and the QUERY_STRING that it got.
fn fastcgi() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut params = Vec::new();
            loop {
                let mut head = [0; 8];
                if stream.read_exact(&mut head).is_err() {
                    break;
                }
                let length = usize::from(u16::from_be_bytes([head[4], head[5]])) + usize::from(head[6]);
                let mut content = vec![0; length];
                stream.read_exact(&mut content).expect("a record");
                match (head[1], length) {
                    (4, 1..) => params.extend(content),
                    // The end of the body.
                    (5, 0) => break,
                    _ => {}
                }
            }
            let told = |name: &str| value_of(&params, name).unwrap_or_default();
            let body = format!(
                "Content-Type: text/plain\r\n\r\n{} {}",
                told("SCRIPT_FILENAME"),
                told("QUERY_STRING")
            );
            let length = u16::try_from(body.len()).expect("a short body").to_be_bytes();
            let mut answer = vec![1, 6, 0, 1, length[0], length[1], 0, 0];
            answer.extend(body.as_bytes());
            answer.extend([1, 3, 0, 1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            let _ = stream.write_all(&answer);
        }
    });
    port
}

fn value_of(mut params: &[u8], name: &str) -> Option<String> {
    fn length(params: &mut &[u8]) -> Option<usize> {
        let (first, rest) = params.split_first()?;
        *params = rest;
        if *first < 128 {
            return Some(usize::from(*first));
        }
        let (more, rest) = params.split_first_chunk::<3>()?;
        *params = rest;
        Some(u32::from_be_bytes([first & 127, more[0], more[1], more[2]]) as usize)
    }
    loop {
        let (key, value) = (length(&mut params)?, length(&mut params)?);
        let (pair, rest) = params.split_at_checked(key + value)?;
        if &pair[..key] == name.as_bytes() {
            return Some(String::from_utf8_lossy(&pair[key..]).into_owned());
        }
        params = rest;
    }
}

/// Ways in which scripts for mod_lua answer by themselves.
const OWN_ANSWERS: &str = r#"
local kinds = {}
function kinds.redirect(r)
  r.status = 302
  r.headers_out["Location"] = "http://elsewhere.example/x?y=1"
  return apache2.DONE
end
function kinds.page(r)
  r.content_type = "text/html"
  r:puts("<p>", "one", "</p>")
  local n = r:write("two")
  r:puts(" ", tostring(n))
  return apache2.DONE
end
function kinds.teapot(r)
  r.status = 418
  r.content_type = "text/plain"
  r:puts("short and stout")
  return apache2.DONE
end
function kinds.gone(r)
  r:custom_response(410, "It went away <b>")
  return 410
end
function kinds.moved(r)
  r:custom_response(403, "http://elsewhere.example/login")
  return 403
end
function kinds.cookies(r)
  r:setcookie{ key = "a", value = "1", path = "/" }
  r:setcookie{ key = "b", value = "2", path = "/" }
  return 404
end
function kinds.stat(r)
  local folder, none = r:stat(r.document_root, 0x73b170), r:stat("/no/such/file", 0x73b170)
  r.err_headers_out["X-Stat"] = ("%d %x %s"):format(folder.filetype, folder.protection, tostring(none))
  return 404
end
function answer(r)
  return kinds[r.uri:match("^/(%a+)")](r)
end
"#;

/// A file of OpenResty's balancer phase with what such files do.
const BALANCER: &str = r#"
local balancer = require "ngx.balancer"
local peers = { PEERS }
ngx.var.chosen = "none"
ngx.req.set_header("X-List", { "one", "two" })
local nth = balancer.get_last_failure() and 2 or 1
if nth == 1 then
  balancer.set_more_tries(1)
  ngx.ctx.id = ngx.var.request_id
end
assert(ngx.get_phase() == "balancer", ngx.get_phase())
assert(#ngx.var.binary_remote_addr == 4 and ngx.var.server_addr == "127.0.0.1")
assert(ngx.var.request_id == ngx.ctx.id and #ngx.ctx.id >= 24, ngx.ctx.id)
assert(ngx.worker.count() >= 1)
assert(balancer.set_timeouts(0.3, 0.3, 0.3))
assert(balancer.set_current_peer("127.0.0.1", peers[nth]))
ngx.var.chosen = peers[nth]
return ngx.exit(ngx.OK)
"#;

/// An AJP server that says what it was sent and ends the connection.
fn ajp() -> (u16, mpsc::Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let (said, heard) = mpsc::channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut packet = vec![0; 8192];
            let length = stream.read(&mut packet).unwrap_or(0);
            packet.truncate(length);
            let _ = said.send(packet);
        }
    });
    (port, heard)
}
