// SPDX-License-Identifier: Apache-2.0
//! `If-None-Match` and `If-Match`.

use render::mark::Mark;

use crate::types::Request;

/// Whether the asker has the document already.
pub(crate) fn has_it(request: &Request<'_>, mark: Mark) -> bool {
    let tags = request.all("if-none-match").flat_map(tags);
    tags.into_iter().any(|tag| tag == Tag::Any || tag == Tag::Of(mark))
}

/// Whether a change may go on: nobody has changed the thing since the asker saw it. Numbers may
/// have changed.
pub(crate) fn may_change(request: &Request<'_>, mark: Mark) -> bool {
    let mut given = request.all("if-match").peekable();
    given.peek().is_none()
        || given.flat_map(tags).any(|tag| match tag {
            Tag::Any => true,
            Tag::Of(seen) => seen.change == mark.change,
            Tag::Other => false,
        })
}

#[derive(PartialEq)]
enum Tag {
    Any,
    Of(Mark),
    /// None of ours, or garbage.
    Other,
}

/// No tag of ours has a comma in it.
fn tags(list: &str) -> Vec<Tag> {
    let one = |tag: &str| {
        let tag = tag.trim();
        if tag == "*" {
            return Tag::Any;
        }
        let inner =
            tag.strip_prefix("W/").unwrap_or(tag).strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
        inner.and_then(Mark::parse).map_or(Tag::Other, Tag::Of)
    };
    list.split(',').map(one).collect()
}
