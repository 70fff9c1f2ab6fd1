// SPDX-License-Identifier: Apache-2.0
//! `lbctl convert` of configurations with doubled, empty and odd names.

use insta::assert_snapshot;

use crate::Folder;

const HAPROXY: &str = "\
backend
    server a 10.0.0.1:80
    server a 10.0.0.2:80
    server a 10.0.0.1:80
    server bad/name 10.0.0.3:80
    server
backend app
    server x 10.0.0.1:80 weight 9999999
    option \\
backend app
    server y 10.0.0.1
backend ..
listen
    server z z:80
frontend f
    default_backend app
    default_backend gone
frontend g\\
    default_backend app
";

const NGINX: &str = "\
upstream a { server h1; server h1; server h1 weight=x; }
upstream a { server h2; }
upstream A { server h2; }
upstream { server h3; }
upstream {}
upstream \"we ird\" { server \"h 4\"; server h5:99999; server unix:; }
upstream _ { hash $request_uri; least_conn; }
server {
    location / { proxy_pass http://a; }
    location / { proxy_pass http://A; }
    location /x\\y { proxy_pass http://a; }
    location '/q\"' { proxy_pass http://a; }
    location /z { proxy_pass \"http://we ird/q\"; }
    location { proxy_pass http://a; }
}
";

const BALANCER: &str = "\
<Proxy balancer://>
    BalancerMember http://a:1
</Proxy>
<Proxy \"balancer://x\">
    BalancerMember http://a:1 route=1
    BalancerMember http://a:1 route=1
</Proxy>
<Proxy balancer://x>
    BalancerMember http://b:1
    ProxySet lbmethod=bybusyness
</Proxy>
<Proxy balancer://we:ird/>
    BalancerMember ajp://b
    BalancerMember
    BalancerMember junk
    BalancerMember http://c:1 secret=
</Proxy>
<Proxy balancer://X>
    BalancerMember http://b:1
</Proxy>
<Location /loc>
    ProxyPass balancer://x/y
</Location>
ProxyPass balancer://x
ProxyPass / balancer://x/ stickysession=J timeout=3
ProxyPass / balancer://x/
ProxyPass / balancer://X/
ProxyPass /i balancer://we:ird/
ProxyPass /q balancer://gone/
ProxyPassMatch ^/a(\\d+) balancer://x/$1
";

/// The output is a configuration, in which every name stands once.
fn converted(from: &str, text: &str) -> String {
    let folder = Folder::with(&[("in.conf", text)]);
    let said = folder.lbctl(&["convert", from, "in.conf"]);
    folder.write("out.conf", &said.out);
    folder.lbctl(&["explain", "--config", "out.conf", "/elsewhere/unknown"]);
    let checked = folder.lbctl(&["check", "--without-httpd", "out.conf"]);
    assert!(!checked.out.contains(" error: "), "{}{}", said.out, checked.whole());
    said.whole()
}

#[test]
fn doubled_and_empty_names_become_names_of_their_own() {
    assert_snapshot!("odd_haproxy", converted("haproxy", HAPROXY));
    assert_snapshot!("odd_nginx", converted("nginx", NGINX));
    assert_snapshot!("odd_balancer", converted("balancer", BALANCER));
}

#[test]
fn text_that_is_no_configuration_is_told_with_its_line() {
    for (text, told) in [
        ("http {\n upstream a {\n server a;\n", "in.conf:2: the { of upstream a has no end"),
        ("http {\n}\n}\n", "in.conf:3: a } without a {"),
    ] {
        let folder = Folder::with(&[("in.conf", text)]);
        let said = folder.lbctl(&["convert", "nginx", "in.conf"]);
        assert!(said.code == 2 && said.err.contains(told), "{}", said.whole());
    }
    // Bytes that are nothing become nothing that a server would refuse.
    let bytes: Vec<u8> = (0..20_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let folder = Folder::new();
    let odd = [
        b"backend \xff\x00x\\\n server \x1b[2J \xfe:1 name=\x07\nupstream \x01 { server \x02; }\n",
        &bytes[..],
    ]
    .concat();
    folder.write("in.conf", &odd);
    for from in ["haproxy", "nginx", "balancer"] {
        let said = folder.lbctl(&["convert", from, "in.conf"]);
        assert!(
            !said.out.contains(|letter: char| letter.is_control() && letter != '\n'),
            "{from}: {:?}",
            said.out
        );
        folder.write("out.conf", &said.out);
        let checked = folder.lbctl(&["check", "--without-httpd", "out.conf"]);
        assert!(!checked.out.contains(" error: "), "{}{}", said.out, checked.whole());
    }
}
