// SPDX-License-Identifier: Apache-2.0
//! The names that a choice has: in `LB_METHOD`, and in the queue.

use super::*;

const TWO: [&str; 2] = ["h:1 name=a route=ra", "h:2 name=b route=rb"];

/// `LB_METHOD` of each attempt, when nobody answers.
fn methods(stage: &Stage, decision: &Decision<()>, picked_by: Option<&'static str>) -> String {
    let (mut way, mut course, mut words) =
        (Chooser::of(decision, None, picked_by), Course::default(), vec![]);
    let settings = stage.handle.settings(stage.app()).expect("the pool");
    while let Ok(goal) = way.look(stage, &mut course) {
        if let Goal::Member(pool, member) = goal {
            course.pool = Some(pool);
            course.goes_to(&member);
        }
        words.push(way.method(&course, &settings));
        course.attempts += 1;
        course.last = Some((Outcome::Connect, 0));
        if !way.goes_on(&mut course, (Outcome::Connect, GET), &settings) {
            break;
        }
    }
    words.join(" ")
}

#[test]
fn the_method_is_that_by_which_the_member_of_the_attempt_was_picked() {
    let mut stage = Stage::new(&TWO, &["Method first", "Sticky cookie=S"]);
    let (app, b) = (stage.app(), stage.member("b"));
    let of_pool = |method, first| Decision::Pool { pool: app, view: None, method, first };
    assert_eq!(methods(&stage, &of_pool(None, None), None), "first first");
    assert_eq!(methods(&stage, &of_pool(Some(Method::Random), None), None), "random random");
    assert_eq!(methods(&stage, &of_pool(None, Some(b.clone())), None), "script first");
    let asked = of_pool(Some(Method::Random), Some(b.clone()));
    assert_eq!(methods(&stage, &asked, Some("random")), "random random");
    assert_eq!(methods(&stage, &Decision::List(vec![(app, b.clone())]), None), "script");
    assert_eq!(methods(&stage, &Decision::Target("http://t".into()), None), "script");
    let each = Decision::Each([Choice::Member(app, b), Choice::Pool(app, None)].into());
    assert_eq!(methods(&stage, &each, None), "script first");
    stage.cookies = "S=x.rb";
    assert_eq!(methods(&stage, &of_pool(None, None), None), "sticky first");
}

/// Requests that want the same stand in one queue.
#[test]
fn requests_wait_behind_those_alone_that_want_the_same() {
    let mut stage = Stage::new(&TWO, &["Method first", "Sticky cookie=S force=on"]);
    let app = stage.app();
    let now = stage.handle.now(app).expect("the pool");
    let wants = |decision: &Decision<()>, course: &Course| Way::of(decision, None, None).wants(course, &now);
    let fresh = Course::default();
    assert_eq!(wants(&Decision::pool(app), &fresh), Some((app, None)), "any member");

    let view = |name: &str| {
        let view = Some(Arc::new(View { steps: vec![ViewStep::Only(vec![name.into()])] }));
        Decision::Pool { pool: app, view, method: None, first: None }
    };
    assert_eq!(wants(&view("a"), &fresh), wants(&view("a"), &fresh));
    assert_ne!(wants(&view("a"), &fresh), wants(&view("b"), &fresh));

    let tried = |name: &str| {
        let mut course = Course::default();
        course.goes_to(&stage.member(name));
        course
    };
    let (of_a, of_b) = (tried("a"), tried("b"));
    assert_ne!(wants(&Decision::pool(app), &of_a), Some((app, None)), "not the member that failed it");
    assert_ne!(wants(&Decision::pool(app), &of_a), wants(&Decision::pool(app), &of_b));

    let list = |names: &[&str]| Decision::List(names.iter().map(|name| (app, stage.member(name))).collect());
    assert_eq!(wants(&list(&["a", "b"]), &fresh), wants(&list(&["a", "b"]), &fresh));
    assert_ne!(wants(&list(&["a", "b"]), &fresh), wants(&list(&["b"]), &fresh));
    assert_eq!(wants(&Decision::Target("http://t".into()), &fresh), None, "a target has no queue");

    let of_session = |stage: &Stage| {
        let decision = Decision::pool(app);
        let (mut way, mut course) = (Way::of(&decision, None, None), Course::default());
        let _ = way.look(stage, &mut course);
        way.wants(&course, &now)
    };
    stage.cookies = "S=x.rb";
    let of_b = of_session(&stage);
    stage.cookies = "S=y.rb";
    assert_eq!(of_session(&stage), of_b, "its member alone");
    stage.cookies = "S=x.ra";
    assert_ne!(of_session(&stage), of_b);
}

#[test]
fn a_member_that_is_full_lends_its_sessions_and_has_them_back_after_a_wait() {
    let mut stage = Stage::new(&TWO, &["Method first", "Sticky cookie=S"]);
    stage.cookies = "S=.rb";
    let decision = Decision::pool(stage.app());
    let (mut way, mut course) = (Way::of(&decision, None, None), Course::default());
    let mut look = |course: &mut Course| match way.look(&stage, course) {
        Ok(Goal::Member(_, member)) => member,
        other => panic!("{other:?}"),
    };
    let b = look(&mut course);
    assert!(course.is_by_session() && b.spec.name == "b");
    course.is_full(&b);
    let a = look(&mut course);
    let stick = course.stick.as_ref().expect("a session");
    assert!(a.spec.name == "a" && !stick.binds_to(&a), "no cookie: the session stays at b");
    course.looks_again();
    assert_eq!(look(&mut course).spec.name, "b");
}
