// SPDX-License-Identifier: Apache-2.0
//! The state file: what stands in it, and what a start would make of it.

use balance::snapshot::Extent;
use balance::snapshot::PoolState;
use render::state::{StateFileDoc, StatePartDoc};
use render::time::Time;
use statefile::{Ages, StartPlan, StartTime, StateDocument};

use crate::asked::{Asked, epoch_s};
use crate::body;
use crate::problem::Problem;
use crate::read;
use crate::types::{Response, StateSeen};

/// `GET /api/v1/state`.
pub(crate) fn document(asked: &Asked<'_>) -> Result<Response, Problem> {
    let Some(seen) = asked.house.state_file() else { return read::plain(&StateFileDoc::default()) };
    read::plain(&shown(asked, seen))
}

fn shown(asked: &Asked<'_>, seen: StateSeen) -> StateFileDoc {
    let mut document = StateFileDoc { path: Some(seen.path), error: seen.trouble, ..StateFileDoc::default() };
    let read = seen.bytes.and_then(|bytes| {
        bytes.map(|bytes| statefile::read(&bytes).map_err(|error| error.to_string())).transpose()
    });
    match read {
        Ok(Some(kept)) => {
            document.written = Time::noted(kept.written.0);
            document.file = Some(statefile::shown(&kept));
            let start = StartTime { now_s: epoch_s(asked.house), ages: seen.ages };
            plan(&mut document, &kept, &asked.house.snapshot(Extent::Standing).pools, &start);
        }
        Ok(None) => {}
        Err(error) => document.error = Some(error),
    }
    document
}

fn plan(document: &mut StateFileDoc, kept: &StateDocument, pools: &[PoolState], start: &StartTime) {
    let plan = StartPlan::of(kept, pools, start);
    let part = |pool: &str, member: &str, keys: Vec<&'static str>, why: Option<String>| StatePartDoc {
        pool: pool.to_owned(),
        member: member.to_owned(),
        keys,
        why,
    };
    if plan.is_too_old {
        let Ages { max_age_s, .. } = start.ages;
        let why = format!("the file is older than max_age= ({max_age_s} s)");
        let all = kept.pools.iter().flat_map(|pool| pool.members.iter().map(move |member| (pool, member)));
        document.drop = all
            .map(|(pool, member)| part(&pool.name, &member.name, member.keys(), Some(why.clone())))
            .collect();
        return;
    }
    document.apply =
        plan.members.iter().map(|planned| part(&planned.pool, &planned.name, planned.keys(), None)).collect();
    for dropped in plan.dropped {
        let (keys, why): (Vec<_>, Vec<_>) = dropped.parts.into_iter().unzip();
        document.drop.push(part(&dropped.pool, &dropped.member, keys, Some(why.join("; "))));
    }
    let why = "no configuration has this member now";
    let left = plan.left.into_iter();
    document.drop.extend(left.map(|(pool, member, keys)| part(&pool, &member, keys, Some(why.to_owned()))));
}

/// `POST /api/v1/state/prune`.
pub(crate) fn prune(asked: &Asked<'_>) -> Result<Response, Problem> {
    if !asked.request.body.is_empty() {
        body::json(asked.request)?;
    }
    if asked.house.state_file().is_none() {
        return Err(Problem::new(409, "there is no state file (LuaBalancerStateFile)"));
    }
    asked.house.prune_state().map_err(|why| Problem::new(503, why))?;
    document(asked)
}
