//! One check of one member.

mod agent;
mod connect;
mod failure;
mod http;
mod redirect;
mod request;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use balance::settings::{CheckKind, HealthCheck};

use crate::agent::AgentReply;
use crate::target::Target;
use crate::text;

use connect::Address;
pub(crate) use failure::Failure;
use http::HttpCheck;
pub(crate) use tls::Roots;

/// What one check found.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub ok: bool,
    pub why: String,
    pub agent: Option<AgentReply>,
}

/// Checks one target again and again; holds what is kept from one check to the next.
pub(crate) struct Checker {
    check: Arc<HealthCheck>,
    address: Address,
    /// Of http and https: a plan that cannot be carried out fails each time with the same text.
    http: Option<Result<HttpCheck, Failure>>,
}

impl Checker {
    pub fn new(target: &Target, roots: Arc<Roots>) -> Self {
        let (check, url) = (&target.check, &target.member.spec.url);
        let address = Address::new(url, check.port);
        let http = matches!(check.kind, CheckKind::Http | CheckKind::Https)
            .then(|| HttpCheck::new(check, url, address.clone(), roots));
        Checker { check: check.clone(), address, http }
    }

    /// Interval and jitter in percent.
    pub fn pace(&self) -> (Duration, u8) {
        (Duration::from_millis(self.check.interval_ms), self.check.jitter_percent)
    }

    /// One check, within its timeout.
    pub async fn check(&mut self) -> Outcome {
        let limit = Duration::from_millis(self.check.timeout_ms);
        match tokio::time::timeout(limit, self.attempt()).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(failure)) => Outcome { ok: false, why: failure.to_string(), agent: None },
            Err(_) => {
                Outcome { ok: false, why: format!("timed out after {}", text::duration(limit)), agent: None }
            }
        }
    }

    async fn attempt(&mut self) -> Result<Outcome, Failure> {
        match (&mut self.http, self.check.kind) {
            (Some(Ok(http)), _) => http.check().await.map(|status| Outcome {
                ok: true,
                why: format!("HTTP {status}"),
                agent: None,
            }),
            (Some(Err(failure)), _) => Err(failure.clone()),
            (None, CheckKind::Agent) => agent::ask(&self.address).await,
            (None, _) => {
                self.address.connect().await?;
                Ok(Outcome { ok: true, why: "connected".to_owned(), agent: None })
            }
        }
    }
}
