// SPDX-License-Identifier: Apache-2.0
//! Timers and Lua checks: one child runs them, none holds up another, and they move with the lead.

mod checks;
mod runs;

use server_tests::{Backend, Builder, Httpd, Mpm, on_every_mpm, patience, pool, wait_until};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(15);

/// The pid in front of an error log line: `[pid 123:tid 456]` or `[pid 123]`.
fn pid_of(line: &str) -> u32 {
    let digits = line.split("[pid ").nth(1).unwrap_or("").split([':', ']']).next().unwrap_or("");
    digits.parse().unwrap_or_else(|_| panic!("no pid in {line:?}"))
}

/// Pids of the lines that match, in order.
fn pids(httpd: &Httpd, text: &str) -> Vec<u32> {
    httpd.error_log().lines().filter(|line| line.contains(text)).map(pid_of).collect()
}

fn wait_for_state(httpd: &Httpd, pool: &str, member: &str, state: &str) -> Duration {
    let what = format!("member {member} of {pool} to be {state}");
    wait_until(&what, SOON, || httpd.member(pool, member).state == state)
}

/// How long until the log has `n` more lines with this text than now.
fn time_of_more(httpd: &Httpd, text: &str, n: usize) -> Duration {
    let before = httpd.count_log(text);
    wait_until(&format!("{n} more lines with {text}"), SOON, || httpd.count_log(text) >= before + n)
}

/// The published example: a check by socket that starts itself again.
const ARTICLE: &str = r#"
local function is_server_healthy(host, port)
    local sock = socket.tcp()
    sock:settimeout(2) -- 设置超时时间
    local ok, err = sock:connect(host, port)
    if ok then
        sock:close()
        return true
    else
        print("Server " .. host .. ":" .. port .. " is unhealthy: " .. err)
        return false
    end
end
local function periodic_health_check()
    ngx.timer.at(INTERVAL, function() -- 每 10 秒执行一次
        -- 执行健康检查
        for i = 1, server_count do
            local server = backend_servers[i]
            local healthy = is_server_healthy(server.host, server.port)
            -- 根据健康状态更新服务器状态
            if healthy then
                lb.pool("app"):member(server.name):enable()
            else
                lb.pool("app"):member(server.name):disable()
            end
        end
        periodic_health_check() -- 再次启动定时器
    end)
end
-- 启动定时健康检查
periodic_health_check()
function translate() return nil end
"#;

fn lua_checked(a: &Backend, b: &Backend, script: &str, keys: &str) -> Builder {
    let check = format!(
        "LuaBalancerOutlier off\nLuaBalancerHealthCheck lua script=check.lua interval=100ms jitter=0% {keys}"
    );
    Httpd::builder()
        .with_member_states()
        .file("check.lua", script)
        .config(&pool("app", &[(a, ""), (b, "")], &check))
        .config("ProxyPass /app lb://app")
}
