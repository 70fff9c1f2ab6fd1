// SPDX-License-Identifier: Apache-2.0
//! `lbctl convert`.

use insta::assert_snapshot;

use crate::Folder;

const BALANCER: &str = "\
<Proxy balancer://mycluster>
    BalancerMember http://192.168.1.50:80 loadfactor=5 route=one ping=3
    BalancerMember http://192.168.1.51:80 status=+H timeout=30 lbset=1
    BalancerMember http://192.168.1.52:80 growth=10
    ProxySet lbmethod=bytraffic stickysession=JSESSIONID|jsessionid nofailover=On
    Require all granted
</Proxy>
<VirtualHost *:80>
    ProxyPass /test balancer://mycluster/app maxattempts=3 failonstatus=500,503
    ProxyPassReverse /test balancer://mycluster/app
    RewriteRule ^/old/(.*) balancer://mycluster/$1 [P]
</VirtualHost>
BalancerPersist On
";

const CHECKED: &str = "\
ProxyHCTemplate deep hcmethod=GET hcuri=/health hcinterval=7 hcpasses=2
ProxyHCExpr good {%{REQUEST_STATUS} =~ /^[23]/}
<Proxy balancer://app>
    BalancerMember http://192.168.1.10:8080 route=a hctemplate=deep hcexpr=good hcfails=4
    BalancerMember http://192.168.1.11:8080 route=b hcTemplate=deep hcexpr=good hcfails=4
    ProxySet lbmethod=bytraffic stickysession=JSESSIONID|jsessionid nofailover=On failontimeout=On timeout=5
    ProxySet failonstatus=500,503
</Proxy>
<Proxy balancer://two>
    BalancerMember http://192.168.1.10:8080 hcmethod=TCP
    BalancerMember http://192.168.1.11:8080
    ProxySet nofailover=on stickysessionsep=! connectiontimeout=5 nonce=x failonstatus=bad
</Proxy>
<VirtualHost *:80>
    ProxyPass /test balancer://app/app maxattempts=3
    ProxyPassReverse /test balancer://app/app
    Header add Set-Cookie \"ROUTEID=.%{BALANCER_WORKER_ROUTE}e; path=/\" env=BALANCER_ROUTE_CHANGED
    <Location /balancer-manager>
        SetHandler balancer-manager
    </Location>
</VirtualHost>
BalancerPersist On
";

const NGINX: &str = "\
# a comment { with braces; }
http {
    upstream backend {
        server backend1.example.com weight=5;
        server 127.0.0.1:8080 max_fails=3 fail_timeout=30s max_conns=20;
        server unix:/tmp/backend3 resolve;
        server backup1.example.com:8080 backup;
        server off.example.com down;
        keepalive 16;
        zone upstream_dynamic 64k;
    }
    upstream hashed { hash $http_x_key$request_uri consistent; server h1; server h2 slow_start=30s; }
    upstream cookied { hash $cookie_sid; server c1; }
    upstream two { random two least_conn; server t1:81; sticky cookie srv_id expires=1h domain=.example.com path=/; }
    upstream php { ip_hash; server 10.0.0.1:9000; }
    server {
        location / { proxy_pass http://backend; proxy_next_upstream error timeout; }
        location /h/ { proxy_pass https://hashed/; }
        location ~ \\.php$ { fastcgi_pass php; }
    }
}
";

const HAPROXY: &str = "\
global
    maxconn 4096
defaults
    mode http
    timeout connect 5s
    timeout server 50000
    retries 3
    option redispatch
frontend www
    bind *:80
    acl is_api path_beg /api
    use_backend api if is_api
    default_backend app
backend app
    balance leastconn
    option httpchk GET /health
    http-check expect status 200
    cookie SRV insert indirect nocache
    timeout queue 10s
    default-server inter 3s fall 3 rise 2
    server a 10.0.0.1:8080 check weight 50 cookie a maxconn 100
    server b 10.0.0.2:8080 check cookie b backup slowstart 30s
    server c 10.0.0.3:8443 ssl verify none disabled
    http-request set-header X-A b
backend api
    balance hdr(X-Key)
    hash-type consistent
    server x 10.0.1.1:80 check inter 1s
    server y 10.0.1.2:80 check inter 2s send-proxy
backend db
    mode tcp
    balance rdp-cookie
    server d /run/db.sock
";

fn converted(from: &str, name: &str, text: &str) -> String {
    let folder = Folder::with(&[(name, text)]);
    let said = folder.lbctl(&["convert", from, name]);
    folder.write("pools.conf", &said.out);
    // The output is a configuration.
    folder.lbctl(&["explain", "--config", "pools.conf", "/elsewhere"]).done();
    said.whole()
}

#[test]
fn a_balancer_becomes_a_pool() {
    assert_snapshot!("balancer", converted("balancer", "httpd.conf", BALANCER));
}

#[test]
fn a_balancer_of_several_lines_becomes_one_line_of_its_pool_for_each() {
    assert_snapshot!("balancer_checked", converted("balancer", "httpd.conf", CHECKED));
}

#[test]
fn checks_that_a_pool_cannot_have_are_named_at_every_member() {
    let written = |members: &str| {
        converted("balancer", "httpd.conf", &format!("<Proxy balancer://app>\n{members}</Proxy>\n"))
    };
    for (members, words) in [
        (
            "BalancerMember http://a:1 hcmethod=GET hcexpr=gone\nBalancerMember http://b:1 hcmethod=TCP\n",
            ["# http://a:1 hcmethod=GET hcexpr=gone: ", "# http://b:1 hcmethod=TCP: ", "ProxyHCExpr"],
        ),
        (
            "BalancerMember https://a:1 hcmethod=GET hcuri=/x\n",
            ["# https://a:1 hcmethod=GET hcuri=/x: ", "expected LuaBalancerHealthCheck https", "verify=off"],
        ),
        (
            "BalancerMember http://a:1 hcmethod=TCP\nBalancerMember http://b:1 hcmethod=TCP hcfails=3\n",
            ["# http://a:1 hcmethod=TCP: ", "# http://b:1 hcmethod=TCP hcfails=3: ", "one check for all"],
        ),
        (
            "BalancerMember http://a:1 hcinterval=5\n",
            ["# http://a:1 hcinterval=5: ", "without hcmethod=", ""],
        ),
        ("BalancerMember http://a:1 hcmethod=\n", ["# http://a:1 hcmethod=: ", "TCP, OPTIONS, HEAD", ""]),
    ] {
        let said = written(members);
        for word in words {
            assert!(said.contains(word), "no {word} in {said}");
        }
        assert!(!said.contains("\n    LuaBalancerHealthCheck"), "{said}");
    }
    let said =
        written("BalancerMember http://a:1 HCMethod=TCP hcInterval=2\nBalancerMember junk hcmethod=GET\n");
    assert!(said.contains("\n    LuaBalancerHealthCheck tcp interval=2s rise=1 fall=1\n"), "{said}");
}

#[test]
fn balancers_of_one_name_in_two_virtual_hosts_are_two_pools() {
    let host = |port: u16, member: &str| {
        format!(
            "<VirtualHost *:{port}>\n<Proxy balancer://app>\nBalancerMember http://{member}\n</Proxy>\n\
             ProxyPass /{member} balancer://app\nProxyPass /all balancer://all\n</VirtualHost>\n"
        )
    };
    let all = "<Proxy balancer://all>\nBalancerMember http://c\n</Proxy>\n\
               ProxyPass /main balancer://app\n";
    let said = converted("balancer", "httpd.conf", &[&host(80, "a"), &host(443, "b"), all].concat());
    let pool = |name: &str| {
        let (_, rest) = said.split_once(&format!("<LuaBalancerPool {name}>")).unwrap_or_default();
        rest.split("</LuaBalancerPool>").next().unwrap_or_default().to_owned()
    };
    assert!(pool("app").contains("http://a\n") && !pool("app").contains("http://b"), "{said}");
    assert!(pool("app-2").contains("http://b\n") && pool("app-2").contains("<VirtualHost *:443>"), "{said}");
    for line in ["\"/a\" \"lb://app\"", "\"/b\" \"lb://app-2\"", "\"/all\" \"lb://all\""] {
        assert!(said.contains(&format!("\nProxyPass {line}\n")), "no {line} in {said}");
    }
    assert!(said.contains("# ProxyPass /main balancer://app: there is no section of this name"), "{said}");
}

#[test]
fn lines_outside_of_a_section_are_of_the_balancer_that_they_name() {
    let text = "BalancerMember balancer://app http://b hcmethod=TCP route=b\n\
                <Proxy balancer://app>\nBalancerMember http://a hcmethod=TCP\n</Proxy>\n\
                ProxySet balancer://app lbmethod=bybusyness\nProxySet balancer://gone lbmethod=bybusyness\n\
                BalancerMember balancer://gone http://c\nBalancerMember balancer://app\n\
                <VirtualHost *:80>\nBalancerMember balancer://app http://d\n</VirtualHost>\n";
    let said = converted("balancer", "httpd.conf", text);
    for line in [
        "    LuaBalancerMember http://a\n    LuaBalancerMember http://b route=b\n",
        "    LuaBalancerMethod least_connections\n",
        "    LuaBalancerHealthCheck tcp interval=30s rise=1 fall=1\n",
        "# BalancerMember balancer://app: there is no URL\n",
        "# ProxySet balancer://gone lbmethod=bybusyness (line 6 of DIR/httpd.conf): there is no section",
        "# BalancerMember balancer://app http://d (line 10 of DIR/httpd.conf): there is no section",
        "# BalancerMember balancer://gone http://c (line 7 of DIR/httpd.conf): there is no section",
    ] {
        assert!(said.contains(line), "no {line} in {said}");
    }
}

#[test]
fn an_upstream_becomes_a_pool() {
    assert_snapshot!("nginx", converted("nginx", "nginx.conf", NGINX));
}

#[test]
fn a_backend_becomes_a_pool() {
    assert_snapshot!("haproxy", converted("haproxy", "haproxy.cfg", HAPROXY));
}

#[test]
fn every_line_has_a_counterpart_or_a_comment() {
    let said = converted("haproxy", "haproxy.cfg", HAPROXY);
    for word in ["X-A", "send-proxy", "rdp-cookie", "use_backend", "mode tcp", "verify"] {
        assert!(said.contains(word), "{word} is gone without a word:\n{said}");
    }
    let said = converted("nginx", "nginx.conf", NGINX);
    for word in ["resolve", "keepalive 16", "$cookie_sid", "proxy_next_upstream", "php$"] {
        assert!(said.contains(word), "{word} is gone without a word:\n{said}");
    }
    let said = converted("balancer", "httpd.conf", BALANCER);
    for word in ["growth", "bytraffic", "force=on", "Require all granted", "RewriteRule", "BalancerPersist"] {
        assert!(said.contains(word), "{word} is gone without a word:\n{said}");
    }
}

#[test]
fn the_whole_target_is_a_key_that_only_the_server_knows() {
    let hashed = "upstream app { hash $request_uri consistent; server h1; server h2; }\n\
                  server { location / { proxy_pass http://app; } }\n";
    let plain = hashed.replace("$request_uri", "$uri");
    let folder = Folder::with(&[("nginx.conf", hashed), ("plain.conf", &plain)]);
    let line = "192.0.2.1 - - [30/Nov/2026:14:00:00 +0000] \"GET /x HTTP/1.1\" 200 5\n";
    folder.write("access.log", line);
    for (file, lines) in [("nginx.conf", 1), ("plain.conf", 0)] {
        let said = folder.lbctl(&["convert", "nginx", file]).done();
        assert_eq!(said.out.matches("\nSetEnvIfExpr ").count(), lines, "{}", said.out);
        folder.write("pools.conf", &said.out);
        let told = "unknown without the server: SetEnvIfExpr";
        let explained = folder.lbctl(&["explain", "--config", "pools.conf", "/x"]).done();
        assert_eq!(explained.out.matches(told).count(), lines, "{}", explained.whole());
        let simulated = folder.lbctl(&["simulate", "--config", "pools.conf", "access.log"]).done();
        assert_eq!(simulated.err.matches(told).count(), lines, "{}", simulated.whole());
    }
}

#[test]
fn a_file_that_holds_no_pool_is_told() {
    let folder = Folder::with(&[("empty", "\n"), ("open", "http { upstream x {\n")]);
    for from in ["balancer", "nginx", "haproxy"] {
        assert_eq!(folder.lbctl(&["convert", from, "empty"]).code, 1, "{from}");
        assert_eq!(folder.lbctl(&["convert", from, "gone"]).code, 2, "{from}");
    }
    let said = folder.lbctl(&["convert", "nginx", "open"]);
    assert!(said.code == 2 && said.err.contains("has no end"), "{}", said.whole());
    assert_eq!(folder.lbctl(&["convert", "varnish", "empty"]).code, 2);
}
