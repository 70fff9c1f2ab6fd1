// SPDX-License-Identifier: Apache-2.0
//! The members that may be picked now: lbsets, spares, standbys, zones and panic.

use crate::member::Member;
use crate::settings::Set;
use crate::status::Status;

/// Whether so few members are usable that health is ignored: of those that would be if all were
/// healthy, less than `panic=` percent.
pub fn is_panic(status: &[Status], set: &Set) -> bool {
    set.panic_percent > 0 && {
        let counted = status.iter().filter(|s| if_healthy(**s).usable()).count();
        let usable = status.iter().filter(|s| s.usable()).count();
        usable * 100 < counted * usize::from(set.panic_percent)
    }
}

fn if_healthy(status: Status) -> Status {
    status.without(Status::CHECK_DOWN | Status::EJECTED)
}

/// Indices of the members that picks choose among, in configured order. In a `panic` health is
/// ignored. As mod_proxy_balancer does it (`ap_proxy_balancer_get_best_worker` in
/// modules/proxy/proxy_util.c): the lowest lbset that has anybody. In it hot spares stand in for
/// members that are not usable, one for one, and standbys serve when there is nobody else in that
/// set.
pub fn active<M: AsRef<Member>>(members: &[M], status: &[Status], set: &Set, panic: bool) -> Vec<usize> {
    let usable: Vec<bool> =
        status.iter().map(|s| if panic { if_healthy(*s).usable() } else { s.usable() }).collect();
    let mut sets: Vec<u8> = status.iter().map(|s| s.lbset()).collect();
    sets.sort_unstable();
    sets.dedup();
    for lbset in sets {
        let chosen = in_set(status, &usable, lbset);
        if !chosen.is_empty() {
            return prefer_zone(members, chosen, set.zone.as_deref());
        }
    }
    Vec::new()
}

fn in_set(status: &[Status], usable: &[bool], lbset: u8) -> Vec<usize> {
    let all: Vec<usize> = (0..status.len()).filter(|i| status[*i].lbset() == lbset).collect();
    let (spares, others): (Vec<usize>, Vec<usize>) =
        all.into_iter().partition(|i| status[*i].has(Status::SPARE));
    let (standbys, regular): (Vec<usize>, Vec<usize>) =
        others.into_iter().partition(|i| status[*i].has(Status::STANDBY));
    let is_usable = |i: &usize| usable[*i];
    let missing = regular.iter().filter(|i| !is_usable(i)).count();
    let stand_ins = spares.into_iter().filter(is_usable).take(missing);
    let mut chosen: Vec<usize> = regular.into_iter().filter(is_usable).chain(stand_ins).collect();
    if chosen.is_empty() {
        chosen = standbys.into_iter().filter(is_usable).collect();
    }
    chosen.sort_unstable();
    chosen
}

fn prefer_zone<M: AsRef<Member>>(members: &[M], chosen: Vec<usize>, zone: Option<&str>) -> Vec<usize> {
    let Some(zone) = zone else { return chosen };
    let near: Vec<usize> =
        chosen.iter().copied().filter(|i| members[*i].as_ref().spec.zone.as_deref() == Some(zone)).collect();
    if near.is_empty() { chosen } else { near }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::member::MemberSpec;

    /// The names of those that picks choose among; of each line, what stands behind `|` are flags
    /// of its status now.
    fn chosen(lines: &[&str]) -> String {
        let (mut members, mut status) = (Vec::new(), Vec::new());
        for (slot, line) in (0..).zip(lines) {
            let (line, flag) = line.split_once(" |").unwrap_or((line, ""));
            let spec = MemberSpec::from_line(&format!("http://x.example:{} {line}", 8000 + slot)).unwrap();
            let flags = match flag {
                "down" => Status::CHECK_DOWN,
                "drain" => Status::DRAINING,
                "off" => Status::DISABLED,
                _ => 0,
            };
            status.push(Status::new(spec.weight, spec.lbset, spec.flags).with(flags));
            members.push(Arc::new(Member::new((slot, 1), slot, spec)));
        }
        let active = active(&members, &status, &Set::default(), false);
        active.into_iter().map(|i| members[i].spec.name.as_str()).collect()
    }

    #[test]
    fn panic_goes_by_health_among_those_that_may_serve() {
        let set = Set { panic_percent: 50, ..Set::default() };
        let up = Status::new(100, 0, 0);
        let [down, off, drain] =
            [Status::CHECK_DOWN, Status::DISABLED, Status::DRAINING].map(|flag| up.with(flag));
        let idle = Status::new(0, 0, 0);
        for (status, panics) in [
            (vec![up, up], false),
            (vec![up, down], false),
            (vec![up, down, down], true),
            (vec![up, off, off, down], false),
            (vec![up, drain, drain, idle], false),
            (vec![off, drain], false),
            (vec![off, down], true),
            (vec![], false),
        ] {
            assert_eq!(is_panic(&status, &set), panics, "{status:?}");
            assert!(!is_panic(&status, &Set::default()));
        }
    }

    #[test]
    fn standbys_serve_within_their_set_before_the_next_one() {
        let standby = "name=h status=+H";
        assert_eq!(chosen(&["name=a", standby, "name=l lbset=1"]), "a");
        assert_eq!(chosen(&["name=a |down", standby, "name=l lbset=1"]), "h");
        assert_eq!(chosen(&["name=a |down", "name=h status=+H |down", "name=l lbset=1"]), "l");
        assert_eq!(chosen(&["name=a |down", "name=h status=+H lbset=1", "name=l lbset=1"]), "l");
        assert_eq!(chosen(&["name=a |down", "name=h status=+H lbset=1", "name=l lbset=1 |off"]), "h");
        assert_eq!(chosen(&[standby]), "h");
    }

    #[test]
    fn spares_stand_in_one_for_one_and_never_for_nobody() {
        let spares = ["name=r status=+R", "name=s status=+R"];
        assert_eq!(chosen(&["name=a", "name=b", spares[0], spares[1]]), "ab");
        for state in ["down", "drain", "off"] {
            assert_eq!(chosen(&[&format!("name=a |{state}"), "name=b", spares[0], spares[1]]), "br");
        }
        assert_eq!(chosen(&["name=a |down", "name=b", "name=r status=+R |down", spares[1]]), "bs");
        assert_eq!(chosen(&["name=a |down", "name=b |down", spares[0], "name=h status=+H"]), "r");
        assert_eq!(chosen(&spares), "");
        assert_eq!(chosen(&["name=a |down", "name=r status=+R lbset=1"]), "");
        assert_eq!(chosen(&[spares[0], "name=h status=+H"]), "h");
    }

    #[test]
    fn a_standby_that_is_out_is_replaced_by_no_spare() {
        assert_eq!(chosen(&["name=h status=+H |down", "name=r status=+R"]), "");
        assert_eq!(chosen(&["name=a", "name=h status=+H |drain", "name=r status=+R"]), "a");
    }

    #[test]
    fn a_spare_that_is_a_standby_too_is_a_spare() {
        assert_eq!(chosen(&["name=x status=+R+H", "name=h status=+H"]), "h");
        assert_eq!(chosen(&["name=a |down", "name=x status=+R+H", "name=h status=+H"]), "x");
    }
}
