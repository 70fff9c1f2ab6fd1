// SPDX-License-Identifier: Apache-2.0
//! What somebody wants of a source of members.

use balance::event::By;
use balance::guard::SourceAsk;
use balance::journal::{EventEntry, EventKind};
use balance::snapshot::Extent;
use balance::snapshot::{Snapshot, SourceState};

use crate::asked::{Asked, epoch_s, person};
use crate::body;
use crate::problem::{Problem, shown};
use crate::read;
use crate::types::Response;

/// `POST …/refresh` and `…/accept`: answers with the source as it is then.
pub(crate) fn ask(asked: &Asked<'_>, ask: SourceAsk) -> Result<Response, Problem> {
    if !asked.request.body.is_empty() {
        body::json(asked.request)?;
    }
    let (pool, source) = (asked.name(0), asked.name(1));
    let before = asked.house.snapshot(Extent::All);
    let known = find(&before, pool, source)?;
    if ask == SourceAsk::Accept && !known.note.standing.stage.is_held() {
        return Err(Problem::new(409, format!("nothing of the source {source} of pool {pool} is held")));
    }
    asked.house.ask_source(&known.pool, &known.settings.name, ask).map_err(|why| Problem::new(503, why))?;
    if ask == SourceAsk::Accept {
        tell(asked, known);
    }
    let all = asked.house.snapshot(Extent::All);
    find(&all, pool, source)?;
    let is_it =
        |row: &render::rows::DiscoveryDoc<'_>| row.pool == &*known.pool && row.source == known.settings.name;
    read::with_view(asked.house, &all, |view| {
        let row = view.discovery().discovery.into_iter().find(is_it);
        row.map_or_else(|| Err(Problem::new(404, "the source is gone")), |row| read::plain(&row))
    })
}

fn tell(asked: &Asked<'_>, known: &SourceState) {
    let by = person(asked.request, None);
    let line =
        format!("pool {}: source {}: what is held is taken (by {by})", known.pool, known.settings.name);
    let entry = EventEntry::new(EventKind::Discovery, epoch_s(asked.house), line);
    let entry = EventEntry { pool: Some(known.pool.to_string()), ..entry };
    let entries = [entry.by(&By::Person(by))];
    asked.house.note(&entries);
    asked.house.log(&[], &entries);
}

fn find<'s>(all: &'s Snapshot, pool: &str, source: &str) -> Result<&'s SourceState, Problem> {
    let mut of_pool = all.sources.iter().filter(|known| known.pool.eq_ignore_ascii_case(pool));
    of_pool.find(|known| known.settings.name == source).ok_or_else(|| {
        let (source, pool) = (shown(source), shown(pool));
        Problem::new(404, format!("there is no source {source} of a pool {pool}"))
    })
}
