# SPDX-License-Identifier: Apache-2.0
"""Tests of the lint itself: `python3 scripts/house/tests.py`."""

import unittest

import links
import mentions
import plain
import quirks
import rooms
import rules
import source

RUST = '''
fn plain(a: u8) {} // unsafe
const TEXT: &str = "unsafe { } \\" ffi::x"; const RAW: &str = r#"unsafe " "#;
fn lifetime<'a>(x: &'a str, y: char) -> char { if y == '"' { '\\'' } else { '{' } }
#[cfg(test)]
mod tests {
    fn f() { unsafe { g() } }
}
fn last() {}
'''


class Text(unittest.TestCase):
    """Rust's text as the rules read it."""

    def setUp(self):
        source.text.cache_clear()
        self.kept, source.text = source.text, lambda name: RUST
        source.code.cache_clear()
        source.production.cache_clear()

    def tearDown(self):
        source.text = self.kept
        source.code.cache_clear()
        source.production.cache_clear()

    def test_comments_strings_and_tests_are_left_out_and_lines_stay(self):
        found = source.production("any.rs")
        self.assertNotIn("unsafe", found)
        self.assertNotIn("ffi", found)
        self.assertEqual(found.count("\n"), RUST.count("\n"))
        self.assertIn("fn last", found)


class Functions(unittest.TestCase):
    """Parameters beside self."""

    def wide(self, text):
        return [name for _, name in rules.wide_functions(text)]

    def test_parameters_are_counted_within_any_brackets(self):
        self.assertEqual(self.wide("fn a(a: u8, b: (u8, u8), c: [u8; 2], d: F<u8, u8>, e: fn(u8, u8) -> u8) {}"), [])
        self.assertEqual(self.wide("fn a<F: Fn(u8) -> u8>(a: u8, b: u8, c: u8, d: u8, e: u8, f: F) {}"), ["a"])

    def test_self_and_callbacks_of_c_do_not_count(self):
        self.assertEqual(self.wide("fn a(&'a mut self, a: u8, b: u8, c: u8, d: u8, e: u8,) {}"), [])
        self.assertEqual(self.wide('extern "" fn a(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8) {}'), [])


class Imports(unittest.TestCase):
    """Trees of imports, and circles."""

    def test_trees_become_paths(self):
        found = rooms.expanded("crate::a::{self, b::{C, D as E}, f}")
        self.assertEqual([name for _, name in found], ["a", "C", "E", "f"])
        self.assertIn((["crate", "a", "b", "D"], "E"), found)

    def test_circles_are_found_and_trees_are_none(self):
        self.assertEqual(rooms.circles({"a": {"b"}, "b": {"c"}, "c": set()}), [])
        found = rooms.circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}})
        self.assertEqual(found, [["b", "c"]])


    def test_floors_import_what_is_below(self):
        heights = {"host": 0, "text": 1, "file": 1, "state": 2}
        self.assertTrue(rules.is_below("host", "text", heights))
        self.assertTrue(rules.is_below("text", "text", heights))
        self.assertTrue(rules.is_below("state", "lib", heights))
        self.assertFalse(rules.is_below("file", "text", heights))
        self.assertFalse(rules.is_below("state", "text", heights))
        self.assertFalse(rules.is_below("new", "state", heights))
        self.assertEqual(rooms.room("crates/script/src/state/call.rs"), "state")
        self.assertEqual(rooms.room("src/hooks/mod.rs"), "hooks")


class Documents(unittest.TestCase):
    """Keys and their sections."""

    def test_keys_are_words_of_code_spans(self):
        self.assertTrue(rules.documented("rise", "takes `rise=2`, `fall`"))
        self.assertTrue(rules.documented("smax", "`max smax min`"))
        self.assertFalse(rules.documented("rise", "the `sunrise` will rise"))

    def test_what_is_named_and_is_not_there_is_found(self):
        def found(line, name="docs/ARCHITECTURE.md"):
            return list(mentions.missing(name, line))

        self.assertEqual(found("`crates/balance` and src/hooks/mod.rs, `serve/child`, tests/tests/*.rs"), [])
        self.assertEqual(found("`app/events` and (src/none.rs)"), ["src/none.rs", "app/events"])
        self.assertEqual(found("`serve::child::get`, `std::fs::no_such`, `script::host`"), [])
        self.assertEqual(found("`serve::no_such` in `no_such.rs`"), ["no_such.rs", "serve::no_such"])
        self.assertEqual(found("`a_test_that_is_nowhere` calls `apr_proc_other_child`"), ["a_test_that_is_nowhere"])
        self.assertEqual(found("// `src/lib.rs` here, tests/ngx/main.rs", "crates/script/src/lib.rs"), [])
        self.assertEqual(found("// multipart/form-data, `app/drain/a`", "tests/src/acts.rs"), [])

    def test_a_sentence_names_its_subject(self):
        def found(*lines):
            numbered = list(enumerate(lines, 1))
            return [(at, word) for at, words in plain.paragraphs(numbered, "//") for word in plain.riddles(words)]

        self.assertEqual(found("/// The weight. It is", "/// no longer read, and there is no other."), [])
        self.assertEqual(found("/// What a member weighs."), [(1, "What")])
        self.assertEqual(found("// The weight. Whoever", "// reads it, waits."), [(1, "Whoever"), (1, "Whoever")])
        self.assertEqual(found("//", "// A target is", "// no member."), [(2, "is no member")])
        self.assertEqual(found("// Text, or", "", "//! - Those serve."), [(3, "Those")])
        self.assertEqual(found('// What is it? A "What" and `is no text`.'), [])

    def test_a_name_begins_with_its_subject(self):
        self.assertEqual(plain.unnamed("fn whole_sum() {}\n\nfn the_sum_is_what_it_was() {}"), [])
        self.assertEqual(plain.unnamed("\n    fn what_is_left(a: u8) {}"), [(2, "what_is_left")])
        self.assertEqual(plain.unnamed("fn whoever_asks() {}"), [(1, "whoever_asks")])

    def test_headings_and_listings_are_no_sentences(self):
        page = "## What differs\n\n```\nWhat\n```\nWho asks.\n| What a cell says | x |"
        found = [at for at, words in plain.paragraphs(plain.sentences(page), "") if plain.riddles(words)]
        self.assertEqual(found, [6, 7])

    def test_metrics_are_named_with_and_without_their_prefix(self):
        line = "`luabalancer_member_up`, `member_latency_ewma_seconds`, `luabalancer_none`"
        self.assertEqual(list(mentions.missing("docs/metrics.md", line)), ["luabalancer_none"])

    def test_a_walk_names_what_is_there(self):
        self.assertEqual(mentions.unknown("`relay::run::run` → `attempts`, `Place::take`, mod_proxy_http"), [])
        self.assertEqual(mentions.unknown("`Place::no_such` → `nothing_there`"), ["Place::no_such", "nothing_there"])

    def test_the_table_and_the_server_tests_know_each_other(self):
        self.assertEqual(quirks.tests("#[test]\nfn a() {}\non_every_mpm!(b, c);\nfn d() {}"), {"a", "b", "c"})
        known = {"backends": {"it_is_so"}, "counts/ends": {"it_ends_so"}}
        rows = 'row("a way", &["backends::it_is_so", "counts/ends::it_ends_so"], "balance::relay", "mod_proxy.c")'
        found = list(quirks.faults({"t/a.rs": rows}, lambda file: known.get(file, set())))
        self.assertEqual(found, [])
        found = list(quirks.faults({"t/a.rs": '"backends::it_was_so"'}, lambda file: known.get(file, set())))
        self.assertEqual(len(found), 2, found)

    def test_versions_compare_by_numbers(self):
        self.assertLess(rules.version("1.9"), rules.version("1.88.0"))


class Links(unittest.TestCase):
    """Links of documents."""

    def test_links_are_found_outside_of_listings_and_code(self):
        page = "[a\nb](x.md) ![p](p.svg)\n```\n[c](no.md)\n```\n`[d](no.md)` [`e`](#f)\n[g]: y.md\n<img src=\"q.png\">"
        self.assertEqual(list(links.targets(page)), [(2, "x.md"), (2, "p.svg"), (6, "#f"), (7, "y.md"), (8, "q.png")])

    def test_headings_have_the_names_that_the_book_gives_them(self):
        page = "# `LuaSet key=…` (P)\n## A, b & c\n## A, b & c\n```\n# no heading\n```\n### [x](y.md) z"
        self.assertEqual(links.anchors(page), {"luaset-key-p", "a-b--c", "a-b--c-1", "x-z"})

    def test_links_that_lead_nowhere_are_told(self):
        self.assertIsNone(links.fault_of("docs/operating.md", "discovery.md"))
        self.assertIsNone(links.fault_of("docs/directives.md", "#the-queue"))
        self.assertIsNone(links.fault_of("README.md", "docs/performance"))
        self.assertIsNone(links.fault_of("docs/performance/README.md", "../lua-api.md#the-request"))
        self.assertEqual(links.fault_of("docs/operating.md", "docs/discovery.md"), "there is no such file")
        self.assertEqual(links.fault_of("docs/operating.md", "/docs/discovery.md"), "there is no such file")
        self.assertEqual(links.fault_of("README.md", "../book/README.md"), "there is no such file")
        self.assertEqual(links.fault_of("docs/directives.md", "#no-queue"), "there is no such heading")

    def test_pages_that_the_book_lacks_are_told(self):
        self.assertEqual(list(links.book()), [])
        page = "[r](../README.md)\n[p](pictures)"
        kept, links.text = links.text, lambda name: "[m](migrating.md)" if name == links.SUMMARY else page
        found = list(links.book())
        links.text = kept
        self.assertIn("docs/SUMMARY.md: docs/operating.md stands there 0 times, not once", found)
        self.assertNotIn("docs/SUMMARY.md: docs/migrating.md stands there 0 times, not once", found)
        for fault in ("docs/migrating.md:1: ../README.md", "docs/migrating.md:2: pictures"):
            self.assertTrue(any(f"{fault}: is not in the book" in one for one in found), fault)


if __name__ == "__main__":
    unittest.main(argv=["house", "-q"])
