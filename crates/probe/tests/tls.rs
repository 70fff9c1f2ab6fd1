// SPDX-License-Identifier: Apache-2.0
//! https checks against a server with a certificate of the test's own authority.

mod common;

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use balance::settings::{CheckKind, HealthCheck};
use common::*;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

struct Site {
    port: u16,
    ca: PathBuf,
}

/// Serves `app.example` over TLS; `name` keeps the CA files of tests apart.
fn site(name: &str, expired: bool) -> Site {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["app.example".to_owned()]).unwrap();
    if expired {
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    }
    let certificate = params.signed_by(&key, &ca).unwrap();
    let file = std::env::temp_dir().join(format!("probe-ca-{}-{name}.pem", std::process::id()));
    std::fs::write(&file, ca.pem()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .unwrap();
    Site { port: serve(Arc::new(config)), ca: file }
}

fn serve(config: Arc<ServerConfig>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let connection = ServerConnection::new(config.clone()).unwrap();
            thread::spawn(move || {
                let stream: Box<dyn Duplex> = Box::new(StreamOwned::new(connection, stream));
                let mut talk = Conversation { stream: std::io::BufReader::new(stream), heads: None };
                while talk.request().is_some() && talk.say(ok("secret")) {}
            });
        }
    });
    port
}

impl Site {
    fn check(&self) -> HealthCheck {
        let ca = Some(self.ca.to_string_lossy().into_owned());
        HealthCheck {
            ca,
            sni: Some("app.example".into()),
            body: Some("secret".into()),
            ..check(CheckKind::Https)
        }
    }

    fn why(&self, check: HealthCheck) -> String {
        once(url("127.0.0.1", self.port), check).why
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.ca);
    }
}

#[test]
fn a_certificate_of_the_named_authority_passes() {
    let site = site("good", false);
    assert_eq!(site.why(site.check()), "status 200");
    let host = Some("app.example:8443".into());
    assert_eq!(site.why(HealthCheck { sni: None, host, ..site.check() }), "status 200");
}

#[test]
fn certificates_that_do_not_fit_fail_and_say_why() {
    let site = site("bad", false);
    let other = HealthCheck { sni: Some("other.example".into()), ..site.check() };
    assert_eq!(site.why(other), "TLS: the certificate is not for other.example (see sni=)");
    assert_eq!(
        site.why(HealthCheck { sni: None, ..site.check() }),
        "TLS: the certificate is not for 127.0.0.1 (see sni=)"
    );
    let issuer = site.why(HealthCheck { ca: None, ..site.check() });
    assert!(
        issuer == "TLS: the certificate's issuer is not trusted (see ca=)" || issuer.contains("no CA"),
        "{issuer}"
    );
    let old = self::site("old", true);
    assert_eq!(old.why(old.check()), "TLS: the certificate has expired");
}

#[test]
fn verify_off_takes_any_certificate() {
    let site = site("off", true);
    assert_eq!(site.why(HealthCheck { verify: false, ca: None, sni: None, ..site.check() }), "status 200");
}

#[test]
fn unusable_settings_are_named_and_count_against_no_member() {
    let site = site("settings", false);
    let told = |check| trouble(url("127.0.0.1", site.port), check);
    let missing = told(HealthCheck { ca: Some("/nonexistent/ca.pem".into()), ..site.check() });
    assert!(missing.contains("cannot be checked: ca=/nonexistent/ca.pem: "), "{missing}");
    std::fs::write(&site.ca, "no certificate").unwrap();
    assert!(told(site.check()).contains("no certificate found"));
    assert!(
        probe::check_ca(&site.ca.to_string_lossy()).is_err_and(|why| why.contains("no certificate found"))
    );
    assert!(told(HealthCheck { sni: Some("a b".into()), ..site.check() }).contains("set sni="));
}

#[test]
fn a_member_without_tls_fails_the_handshake() {
    let plain = Backend::new(|_, talk| {
        talk.say("HTTP/1.1 400 Bad Request\r\n\r\n");
        talk.hang();
    });
    let seen = once_at(&plain, HealthCheck { verify: false, ..check(CheckKind::Https) });
    assert!(!seen.ok && seen.why.starts_with("TLS: "), "{seen:?}");
}

#[test]
fn requests_of_scripts_verify_unless_told_not_to() {
    let site = site("client", true);
    let get = |verify: bool| {
        let mut prober = probe::Prober::for_scripts().unwrap();
        let result = std::rc::Rc::new(std::cell::RefCell::new(None));
        let (own, client, url) =
            (result.clone(), prober.client(), format!("https://127.0.0.1:{}/", site.port));
        prober.spawn(async move {
            let (headers, timeout) = (&[], std::time::Duration::from_secs(10));
            let request =
                probe::Request { url: &url, method: "GET", headers, body: Vec::new(), verify, timeout };
            let answer = client.http(request).await;
            own.replace(Some(answer.map(|answer| answer.body)));
        });
        for _ in 0..200 {
            prober.turn(std::time::Duration::from_millis(100), &mut |_| ());
            if let Some(result) = result.take() {
                return result;
            }
        }
        panic!("no answer")
    };
    assert_eq!(get(false).unwrap(), b"secret");
    let error = get(true).unwrap_err();
    assert!(error.starts_with("TLS: ") && !error.contains("(see"), "{error}");
}
