// SPDX-License-Identifier: Apache-2.0
//! The way of a request: where it leads, whether it may go there, and what it gets.

use balance::guard::SourceAsk;

use crate::asked::Asked;
use crate::headers;
use crate::problem::Problem;
use crate::query::Query;
use crate::routes::{self, ApiRoute, Endpoint, Verb};
use crate::types::{Door, House, Request, Response};
use crate::{apply, batch, body, change, decisions, discovery, events, explain, guard, put, read, state};

/// Answers a request.
pub fn respond(request: &Request<'_>, house: &dyn House) -> Response {
    match admit(request, house) {
        Ok(entrant) => entrant.respond(request, house),
        Err(response) => response,
    }
}

/// A request that may go where it leads, as far as its head tells.
pub struct Entrant {
    target: Endpoint,
    method: Verb,
    names: Vec<String>,
    query: Query,
}

/// Looks at the head of a request: its body is not looked at, and need not be there yet. A change
/// counts as one of its user's.
///
/// # Errors
/// The answer, where there is one without a body: it is refused, or nothing is to be looked at.
pub fn admit(request: &Request<'_>, house: &dyn House) -> Result<Entrant, Response> {
    let answered = |result: Result<Response, Problem>| {
        headers::finish(request, result.unwrap_or_else(Problem::response))
    };
    match enter(request, house) {
        Ok(HeadAnswer::Goes(entrant)) => Ok(entrant),
        Ok(HeadAnswer::Answered(response)) => Err(answered(Ok(response))),
        Err(problem) => Err(answered(Err(problem))),
    }
}

impl Entrant {
    /// Whether the answer hangs on the request's body.
    pub fn reads_body(&self) -> bool {
        self.method != Verb::Get
    }

    /// Answers the request, whose body is there now.
    pub fn respond(&self, request: &Request<'_>, house: &dyn House) -> Response {
        let asked = Asked { request, house, names: &self.names, query: &self.query };
        let response = dispatch(&asked, self.target, self.method).unwrap_or_else(Problem::response);
        headers::finish(request, response)
    }
}

/// The outcome of a head.
enum HeadAnswer {
    Goes(Entrant),
    Answered(Response),
}

fn enter(request: &Request<'_>, house: &dyn House) -> Result<HeadAnswer, Problem> {
    if request.path.is_empty() {
        guard::host(request)?;
        return redirect(request).map(HeadAnswer::Answered);
    }
    let (route, names) = routes::find(request.path)?;
    let is_open = matches!(route.target, Endpoint::Metrics | Endpoint::Health);
    if request.caller.door == Door::Metrics && !is_open {
        return Err(Problem::new(404, "only /metrics and /health are here"));
    }
    guard::host(request)?;
    if request.method == "OPTIONS" {
        return Ok(HeadAnswer::Answered(options(request, route)));
    }
    let method = Verb::from_name(request.method).filter(|method| route.has(*method));
    let Some(method) = method else {
        let detail = format!("{} takes {}", route.path, route.allow());
        return Err(Problem::new(405, detail).with("Allow", route.allow()));
    };
    if house.is_superseded() && !is_of_any_table(route.target) {
        return Err(apply::superseded());
    }
    if route.target == Endpoint::Explain {
        guard::question(request)?;
    } else if method != Verb::Get {
        guard::change(request, house)?;
    }
    if method != Verb::Get {
        // The others may come without a body, and need no type then.
        let has_body = matches!(route.target, Endpoint::Members | Endpoint::Batch | Endpoint::Explain);
        body::head(request, !has_body && method != Verb::Patch)?;
    }
    let query = Query::parse(request.query)?;
    Ok(HeadAnswer::Goes(Entrant { target: route.target, method, names, query }))
}

/// Whether the answer is the same whichever table is asked, or says itself how it is about it.
fn is_of_any_table(target: Endpoint) -> bool {
    matches!(target, Endpoint::Asset | Endpoint::Links | Endpoint::OpenApi | Endpoint::Health)
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
