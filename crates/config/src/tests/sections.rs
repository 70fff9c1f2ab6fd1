// SPDX-License-Identifier: Apache-2.0
use balance::stock::handler::HandlerKind;

use super::{Reader, Stand};
use crate::{OnError, Rewrites, Section};

fn leak<'p>(rewrites: Rewrites<'p>) -> &'p Rewrites<'p> {
    Box::leak(Box::new(rewrites))
}

#[test]
fn the_inner_section_counts_and_the_rest_comes_from_the_outer_one() {
    let mut reader = Reader::default();
    reader.main(&["LuaHookTranslate out.lua", "LuaHookSelect out.lua", "LuaBalancerOnError decline"]);
    reader.at(Stand::Section, &["LuaHookSelect in.lua first", "LuaHookSelect in.lua second"]);
    reader.section.handler = Some(HandlerKind::Other);
    reader.main.handler = Some(HandlerKind::Open);
    let merged = Section::merged(&reader.main, &reader.section, |_| None);
    assert_eq!(merged.translate, reader.main.translate);
    assert_eq!(merged.select, reader.section.select);
    assert_eq!((merged.finish, merged.handler), (None, Some(HandlerKind::Other)));
    let config = reader.config();
    assert_eq!(config.on_error(merged.on_error.unwrap()), &OnError::Decline);
    let functions = |hooks| config.hooks(hooks).iter().map(|one| one.function.as_str()).collect::<Vec<_>>();
    assert_eq!(functions(merged.select.unwrap()), ["first", "second"]);
    assert_eq!(functions(merged.translate.unwrap()), ["translate"]);
}

#[test]
fn one_more_hook_leaves_the_list_of_others_as_it_was() {
    let mut reader = Reader::default();
    reader.main(&["LuaHookSelect a.lua a"]);
    let before = reader.main;
    reader.main(&["LuaHookSelect a.lua b"]);
    let after = reader.main;
    let config = reader.config();
    let count = |section: Section<'_>| config.hooks(section.select.unwrap()).len();
    assert_eq!((count(before), count(after)), (1, 2));
}

#[test]
fn merging_nothing_is_nothing() {
    let merged = Section::merged(&Section::default(), &Section::default(), |_| panic!("nothing to join"));
    assert!(merged.translate.is_none() && merged.rewrites.is_none() && merged.on_error.is_none());
}

#[test]
fn rules_of_both_sections_are_found() {
    let rule = |text: &str, before| leak(Rewrites::Rule(text.as_bytes().to_vec(), before));
    let outer = rule("lb://b/", Some(rule("lb://a/", None)));
    let inner = rule("lb://c/", None);
    let section = |rewrites| Section { rewrites: Some(rewrites), ..Section::default() };
    let both = Section::merged(&section(outer), &section(inner), |both| Some(leak(both)));
    let all = both.rewrites.unwrap();
    for known in ["lb://a/", "lb://b/", "lb://c/"] {
        assert!(all.any(&mut |target| target == known.as_bytes()), "{known}");
    }
    assert!(!all.any(&mut |target| target == b"lb://d/"));
    let one = Section::merged(&section(outer), &Section::default(), |_| panic!("nothing to join"));
    assert!(one.rewrites.unwrap().any(&mut |target| target == b"lb://a/"));
}
