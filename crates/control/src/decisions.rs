// SPDX-License-Identifier: Apache-2.0
//! Decisions that were sampled.

use balance::sampled::{SampledAttempt, SampledRequest};
use render::decisions::{DecisionsDoc, SampledDoc};

use crate::asked::Asked;
use crate::problem::Problem;
use crate::read;
use crate::types::Response;

/// `GET …/decisions`: those of a pool, with an attempt at a member, or that ended so.
pub(crate) fn document(asked: &Asked<'_>) -> Result<Response, Problem> {
    let (pool, member) = (asked.query.get("pool")?, asked.query.get("member")?);
    let reason = asked.query.get("reason")?;
    let is_wanted = |request: &SampledRequest<'_>, attempts: &[SampledAttempt<'_>]| {
        pool.is_none_or(|pool| request.pool.eq_ignore_ascii_case(pool))
            && reason.is_none_or(|reason| request.reason == reason)
            && member.is_none_or(|member| {
                request.member == member || attempts.iter().any(|attempt| attempt.member == member)
            })
    };
    let kept = asked.house.decisions();
    let found = kept.iter().filter_map(|bytes| SampledRequest::unpack(bytes));
    let wanted = found.filter(|(request, attempts)| is_wanted(request, attempts));
    let decisions = wanted.map(|(request, attempts)| SampledDoc::of(&request, &attempts)).collect();
    read::plain(&DecisionsDoc { decisions })
}
