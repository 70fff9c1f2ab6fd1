// SPDX-License-Identifier: Apache-2.0
//! A member and a client of a pool see, byte for byte, the same as with mod_proxy_balancer: every
//! generated request goes through every configuration twice, by `lb://` and by `balancer://`, in
//! one httpd and to one member. The intended differences stand in docs/directives.md, "What differs
//! from balancer://".

#[path = "differential/configurations.rs"]
mod configurations;
#[path = "differential/generator.rs"]
mod generator;
#[path = "differential/mirror.rs"]
mod mirror;

use std::collections::BTreeMap;

use configurations::{Configuration, all};
use generator::requests;
use mirror::Mirror;
use server_tests::ports::ReservedPort;
use server_tests::{Client, Httpd};

/// How many requests there are. Their seed is fixed.
const REQUESTS: usize = 300;

/// The two ways: `lb://` first, which has the server's own port.
const WAYS: [&str; 2] = ["lb", "balancer"];

fn host(number: usize) -> String {
    format!("c{number}.example")
}

fn server(configurations: &[Configuration], mirror: &Mirror, other: &ReservedPort) -> Httpd {
    let url = format!("http://127.0.0.1:{}", mirror.port());
    let modules = ["dir", "proxy_balancer", "slotmem_shm", "lbmethod_byrequests", "negotiation"];
    let mut builder = Httpd::builder().children(1);
    for module in modules {
        builder = builder.module(module);
    }
    let ports = [builder.port(), other.port()];
    builder = builder.config(&format!(
        "Listen 127.0.0.1:{}\nUseCanonicalName Off\nTraceEnable extended\nLimitRequestBody 1000000\n\
         <Directory />\n  Require all granted\n  AllowOverride All\n  Options FollowSymLinks\n</Directory>",
        ports[1]
    ));
    for (name, path, lines) in
        [("app", "", "reverse=off"), ("mapped", "", "reverse=on"), ("based", "/base", "reverse=off")]
    {
        builder = builder.config(&format!(
            "<LuaBalancerPool {name}>\n  LuaBalancerMember {url}{path}\n  LuaBalancerSet {lines}\n</LuaBalancerPool>\n\
             <Proxy balancer://{name}>\n  BalancerMember {url}{path}\n</Proxy>"
        ));
    }
    let root = builder.dir().join("htdocs");
    for (number, configuration) in configurations.iter().enumerate() {
        let own = format!("htdocs/c{number}");
        for file in ["a/index.php", "b/index.html", "a/b/index.php", "index.php"] {
            builder = builder.file(&format!("{own}/{file}"), "a file of the document root\n");
        }
        for (way, port) in WAYS.iter().zip(ports) {
            let text = configuration
                .text(way)
                .replace("DIR", &format!("{}/c{number}", root.display()))
                .replace("FRONT", &host(number));
            builder = builder.file(&format!("{own}/a/.ht-{way}"), &configuration.htaccess(way)).config(&format!(
                "<VirtualHost 127.0.0.1:{port}>\nServerName {}\nDocumentRoot {}/c{number}\nAccessFileName .ht-{way}\n{text}\n</VirtualHost>",
                host(number), root.display()
            ));
        }
    }
    builder.start()
}

/// One request as both ends saw it.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    member: Vec<String>,
    client: String,
}

fn ask(client: &mut Client, mirror: &Mirror, request: &generator::Generated, number: usize) -> Seen {
    let answer = client.try_send_raw_of(&request.bytes(&host(number), mirror.port()), request.is_head);
    let client = match answer {
        Ok(answer) => {
            let headers = answer.headers.0.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("date"));
            let headers: String = headers.map(|(name, value)| format!("{name}: {value}\n")).collect();
            format!("{}\n{headers}\n{}", answer.status, answer.text())
        }
        Err(error) => error.to_string(),
    };
    Seen { member: mirror.take(), client }
}

#[test]
fn a_pool_is_to_members_and_clients_what_a_balancer_is() {
    let mirror = Mirror::new();
    let other = ReservedPort::new();
    let configurations = all();
    let httpd = server(&configurations, &mirror, &other);
    let mut clients = [httpd.client(), Client::new(other.port())];
    let (mut differences, mut reached) = (BTreeMap::<usize, Vec<String>>::new(), 0);
    for (number, configuration) in configurations.iter().enumerate() {
        for request in requests(REQUESTS) {
            let [ours, theirs] = [0, 1].map(|way| ask(&mut clients[way], &mirror, &request, number));
            reached += ours.member.len();
            if ours != theirs && !configuration.differs(&request) {
                differences.entry(number).or_default().push(format!(
                    "{:?}\n--- lb://\n{ours:#?}\n--- balancer://\n{theirs:#?}",
                    String::from_utf8_lossy(&request.bytes(&host(number), mirror.port()))
                ));
            }
        }
    }
    let report: String = differences
        .iter()
        .map(|(number, found)| {
            format!(
                "\n===== {number}: {} ({} requests differ), first:\n{}\n",
                configurations[*number].text("lb"),
                found.len(),
                found[0]
            )
        })
        .collect();
    assert!(differences.is_empty(), "{} configurations differ{report}", differences.len());
    assert!(configurations.len() >= 40, "{} configurations", configurations.len());
    assert!(reached * 2 > configurations.len() * REQUESTS, "only {reached} requests reached the member");
}
