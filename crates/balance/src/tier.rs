//! Who may be picked now: lbsets, spares, standbys, zones and panic.

use crate::member::Member;
use crate::settings::Set;
use crate::status::Status;

/// Indices of the members that picks choose among, in configured order. As mod_proxy_balancer does it
/// (`ap_proxy_balancer_get_best_worker`): the lowest lbset with a usable member; in it hot spares stand in for unusable members,
/// one for one; standbys only when nothing else is usable in any set.
pub fn active<M: AsRef<Member>>(members: &[M], status: &[Status], set: &Set) -> Vec<usize> {
    let panic = set.panic_percent > 0 && {
        let counted = status.iter().filter(|s| s.weight() > 0).count();
        let usable = status.iter().filter(|s| s.usable()).count();
        usable * 100 < counted * usize::from(set.panic_percent)
    };
    let usable: Vec<bool> = status
        .iter()
        .map(|s| if panic { s.without(Status::CHECK_DOWN | Status::EJECTED).usable() } else { s.usable() })
        .collect();
    let mut sets: Vec<u8> = status.iter().map(|s| s.lbset()).collect();
    sets.sort_unstable();
    sets.dedup();
    for standby in [false, true] {
        for lbset in &sets {
            let chosen = in_set(status, &usable, *lbset, standby);
            if !chosen.is_empty() {
                return prefer_zone(members, chosen, set.zone.as_deref());
            }
        }
    }
    Vec::new()
}

fn in_set(status: &[Status], usable: &[bool], lbset: u8, standby: bool) -> Vec<usize> {
    let of_set = |i: &usize| status[*i].lbset() == lbset && status[*i].has(Status::STANDBY) == standby;
    let all: Vec<usize> = (0..status.len()).filter(of_set).collect();
    let (spares, regular): (Vec<usize>, Vec<usize>) =
        all.into_iter().partition(|i| status[*i].has(Status::SPARE));
    let missing = regular.iter().filter(|i| !usable[**i]).count();
    let stand_ins = spares.iter().copied().filter(|i| usable[*i]);
    // Spares without any regular member to replace serve when there is nobody else.
    let missing = if regular.is_empty() { spares.len() } else { missing };
    let mut chosen: Vec<usize> =
        regular.iter().copied().filter(|i| usable[*i]).chain(stand_ins.take(missing)).collect();
    chosen.sort_unstable();
    chosen
}

fn prefer_zone<M: AsRef<Member>>(members: &[M], chosen: Vec<usize>, zone: Option<&str>) -> Vec<usize> {
    let Some(zone) = zone else { return chosen };
    let near: Vec<usize> =
        chosen.iter().copied().filter(|i| members[*i].as_ref().spec.zone.as_deref() == Some(zone)).collect();
    if near.is_empty() { chosen } else { near }
}
