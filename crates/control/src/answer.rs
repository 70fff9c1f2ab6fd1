// SPDX-License-Identifier: Apache-2.0
//! The way of a request: where it leads, whether it may go there, and what it gets.

use balance::guard::SourceAsk;

use crate::asked::Asked;
use crate::headers;
use crate::problem::Problem;
use crate::query::Query;
use crate::routes::{self, ApiRoute, Endpoint, Verb};
use crate::types::{Door, House, Request, Response};
use crate::{batch, change, decisions, discovery, events, explain, guard, put, read, state};

/// Answers a request.
pub fn respond(request: &Request<'_>, house: &dyn House) -> Response {
    let response = answer(request, house).unwrap_or_else(Problem::response);
    headers::finish(request, response)
}

fn answer(request: &Request<'_>, house: &dyn House) -> Result<Response, Problem> {
    if request.path.is_empty() {
        guard::host(request)?;
        return redirect(request);
    }
    let (route, names) = routes::find(request.path)?;
    let is_open = matches!(route.target, Endpoint::Metrics | Endpoint::Health);
    if request.caller.door == Door::Metrics && !is_open {
        return Err(Problem::new(404, "only /metrics and /health are here"));
    }
    guard::host(request)?;
    if request.method == "OPTIONS" {
        return Ok(options(request, route));
    }
    let method = Verb::from_name(request.method).filter(|method| route.has(*method));
    let Some(method) = method else {
        let detail = format!("{} takes {}", route.path, route.allow());
        return Err(Problem::new(405, detail).with("Allow", route.allow()));
    };
    if route.target == Endpoint::Explain {
        guard::question(request)?;
    } else if method != Verb::Get {
        guard::change(request, house)?;
    }
    let asked = Asked { request, house, names: &names, query: Query::parse(request.query)? };
    dispatch(&asked, route.target, method)
}

fn dispatch(asked: &Asked<'_>, target: Endpoint, method: Verb) -> Result<Response, Problem> {
    match (target, method) {
        (Endpoint::Members, Verb::Post) => change::add(asked),
        (Endpoint::Members, Verb::Put) => put::replace(asked),
        (Endpoint::Member, Verb::Patch) => change::patch(asked),
        (Endpoint::Member, Verb::Delete) => change::delete(asked),
        (Endpoint::Batch, _) => batch::run(asked),
        (Endpoint::State, _) => state::document(asked),
        (Endpoint::StatePrune, _) => state::prune(asked),
        (Endpoint::Explain, _) => explain::run(asked),
        (Endpoint::Events, _) => events::document(asked),
        (Endpoint::Decisions, _) => decisions::document(asked),
        (Endpoint::DiscoveryRefresh, _) => discovery::ask(asked, SourceAsk::Refresh),
        (Endpoint::DiscoveryAccept, _) => discovery::ask(asked, SourceAsk::Accept),
        (target, _) => read::document(asked, target),
    }
}

/// To the same URL with a slash at its end, so that relative links lead where they should.
fn redirect(request: &Request<'_>) -> Result<Response, Problem> {
    let last = request.base.rsplit('/').next().unwrap_or_default();
    let query = request.query.map(|query| format!("?{query}")).unwrap_or_default();
    // `./` in front: a name with a colon would be taken for a scheme.
    let place = format!("./{last}/{query}");
    if place.contains(char::is_control) {
        return Err(Problem::new(400, "control characters in the URL"));
    }
    Ok(Response { status: 308, headers: vec![("Location", place)], body: Vec::new() })
}

fn options(request: &Request<'_>, route: &ApiRoute) -> Response {
    let mut headers = vec![("Allow", route.allow())];
    if guard::is_allowed_origin(request) {
        headers.push(("Access-Control-Allow-Methods", route.allow()));
        headers.push(("Access-Control-Allow-Headers", "Content-Type, If-Match, If-None-Match".to_owned()));
    }
    Response { status: 204, headers, body: Vec::new() }
}
