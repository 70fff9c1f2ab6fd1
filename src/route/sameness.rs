// SPDX-License-Identifier: Apache-2.0
//! Whether two decisions about a request are the same, and what they are in words.
//!
//! Two picks in the same pool or view, by the same method and key, are the same question: which
//! member it gives is the next one's turn, or chance. Picks by different questions are the same
//! where both give the same member now. Lists are compared place by place.

use std::sync::Arc;

use balance::api::{PoolId, View};
use balance::choosing::{Choice, Decision, Goal};
use balance::frozen::Frozen;
use balance::member::Member;
use balance::settings::Method;
use balance::store::Store;
use explain::way::Way;
use explain::{Ground, Plan, Ruling, words};

/// The decision about a request.
pub struct Decided {
    /// The decision.
    pub ruling: Ruling,
    /// A hook has made it, or has had the say; otherwise a line of mod_proxy did.
    pub by_hook: bool,
}

/// The question of a pick.
struct Asked<'p> {
    pool: PoolId,
    view: Option<&'p View>,
    method: Method,
    /// None: the pool's own.
    key: Option<&'p [u8]>,
}

impl<'p> Asked<'p> {
    /// None: the plan names a member, a URL or a list.
    fn of<G: Ground>(ground: &G, plan: &'p Plan) -> Option<Self> {
        let Decision::Pool { pool, view, method, first } = &plan.decision else { return None };
        if first.is_some() && plan.picked_by.is_none() {
            return None;
        }
        let own = || Some(ground.handle().now(*pool)?.settings().method.clone());
        let method = method.clone().or_else(own)?;
        Some(Asked { pool: *pool, view: view.as_deref(), method, key: plan.key.as_deref() })
    }

    fn is(&self, other: &Asked<'_>) -> bool {
        let keys = self.key.zip(other.key);
        self.pool == other.pool
            && self.method == other.method
            && self.view == other.view
            && keys.is_none_or(|(one, other)| one == other)
    }
}

/// Whether a shadow's decision is the one that was made.
pub fn is_same<S: Store, G: Ground<Store = Frozen<S>>>(
    ground: &G,
    decided: &Decided,
    shadow: &Ruling,
) -> bool {
    match (&decided.ruling, shadow) {
        // httpd would have come to the same line.
        (_, Ruling::Declined) if !decided.by_hook => true,
        (Ruling::Send(one), Ruling::Send(other))
            if matches!((&one.decision, &other.decision), (Decision::Pool { .. }, Decision::Pool { .. })) =>
        {
            let asked = Asked::of(ground, one).zip(Asked::of(ground, other));
            asked.is_some_and(|(one, other)| one.is(&other)) || {
                // The changes of the hooks that decided are made; the shadow's are its own.
                let one = ground.handle().store().without_changes(|| goes_to(ground, one));
                one.is_some() && one == goes_to(ground, other)
            }
        }
        (Ruling::Send(one), Ruling::Send(other)) => match (list(&one.decision), list(&other.decision)) {
            (Some(one), Some(other)) => {
                let pairs = one.len() == other.len();
                pairs && one.iter().zip(&other).all(|(one, other)| is_same_choice(ground, one, other))
            }
            _ => text(ground, &decided.ruling) == text(ground, shadow),
        },
        (one, other) => text(ground, one) == text(ground, other),
    }
}

fn list<S>(decision: &Decision<S>) -> Option<Vec<Choice>> {
    match decision {
        Decision::List(list) => {
            Some(list.iter().map(|(pool, member)| Choice::Member(*pool, member.clone())).collect())
        }
        Decision::Each(list) => Some(list.to_vec()),
        _ => None,
    }
}

fn is_same_choice<G: Ground>(ground: &G, decided: &Choice, shadow: &Choice) -> bool {
    match (decided, shadow) {
        (Choice::Member(pool, one), Choice::Member(other_pool, other)) => {
            let is_one = one.spec.name == other.spec.name;
            pool == other_pool && (is_one || may_be_answer(ground, *pool, one, other))
        }
        (Choice::Pool(pool, view), Choice::Pool(other_pool, other_view)) => {
            pool == other_pool && view == other_view
        }
        _ => false,
    }
}

/// Whether a turn or a draw has given the shadow its member, which may as well give the other one.
fn may_be_answer<G: Ground>(ground: &G, pool: PoolId, decided: &Member, shadow: &Member) -> bool {
    let asked = ground.state().asked(shadow).filter(|asked| asked.pool == pool);
    asked.is_some_and(|asked| {
        let holds = asked.view.is_none_or(|view| view.holds(decided));
        holds && asked.method.is_some_and(|method| !method.is_by_key())
    })
}

/// The pool and member that a pick gives now.
fn goes_to<G: Ground>(ground: &G, plan: &Plan) -> Option<(PoolId, String)> {
    if let Decision::Pool { pool, first: Some(member), .. } = &plan.decision {
        return Some((*pool, member.spec.name.clone()));
    }
    match Way::new(plan).next(ground) {
        Ok(Goal::Member(pool, member)) => Some((pool, member.spec.name.clone())),
        _ => None,
    }
}

/// A decision in words.
pub fn text<G: Ground>(ground: &G, ruling: &Ruling) -> String {
    match ruling {
        Ruling::Declined => "declined".to_owned(),
        Ruling::Answer { status, .. } => format!("status {status}"),
        Ruling::Send(plan) => decision(ground, plan),
    }
}

fn decision<G: Ground>(ground: &G, plan: &Plan) -> String {
    let pool_name = |pool: PoolId| {
        let now = ground.handle().now(pool);
        now.map_or_else(|| "?".to_owned(), |now| now.membership().name.to_string())
    };
    let narrowed = |view: &Option<Arc<View>>| {
        view.as_ref().map_or_else(String::new, |view| format!(", {}", words::of_view(view)))
    };
    let member = |pool: PoolId, member: &Member| format!("{}/{}", pool_name(pool), member.spec.name);
    match &plan.decision {
        Decision::Pool { pool, view, method, first } => {
            let asked = method.as_ref().map(|method| method.name().to_owned());
            let by = match first {
                Some(_) => plan.picked_by.map(str::to_owned),
                None => {
                    asked.or_else(|| Some(ground.handle().now(*pool)?.settings().method.name().to_owned()))
                }
            };
            let by = by.map_or(String::new(), |by| format!(" by {by}"));
            let to = first.as_ref().map_or_else(|| pool_name(*pool), |first| member(*pool, first));
            format!("{to}{}{by}", narrowed(view))
        }
        Decision::List(list) => {
            let names: Vec<String> = list.iter().map(|(pool, one)| member(*pool, one)).collect();
            names.join(", ")
        }
        Decision::Each(list) => {
            let names = list.iter().map(|choice| match choice {
                Choice::Member(pool, one) => member(*pool, one),
                Choice::Pool(pool, view) => format!("{}{}", pool_name(*pool), narrowed(view)),
            });
            names.collect::<Vec<_>>().join(", ")
        }
        // Without the keys that may stand behind it.
        Decision::Target(url) => url.split(' ').next().unwrap_or_default().to_owned(),
        Decision::Nobody { pool: Some(pool), .. } => format!("nobody in {}", pool_name(*pool)),
        Decision::Nobody { pool: None, .. } => "nobody".to_owned(),
        Decision::Script { peer, .. } => peer.to_string(),
    }
}
