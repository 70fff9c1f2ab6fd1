// SPDX-License-Identifier: Apache-2.0
//! Arguments that scripts give, within their bounds, and words that several functions have.

use mlua::LuaString;

use crate::context::Context;
use crate::decision::answer::FoundNone;

/// Characters of a name that is not known, in an error.
pub(crate) const MOST_SHOWN: usize = 100;

/// A name, or something else that is short, as a copy; an error when it is too long to be one.
pub(crate) fn short(text: &LuaString) -> mlua::Result<String> {
    const LONGEST: usize = 8 << 10;
    if text.as_bytes().len() > LONGEST {
        return Err(mlua::Error::runtime(format!("an argument of more than {} KiB", LONGEST >> 10)));
    }
    Ok(text.to_str()?.to_owned())
}

/// Text that something as long, or longer, is made of.
pub(crate) fn handy(text: &[u8]) -> mlua::Result<&[u8]> {
    const LONGEST: usize = 512 << 10;
    if text.len() > LONGEST {
        return Err(mlua::Error::runtime(format!("a text of more than {} KiB", LONGEST >> 10)));
    }
    Ok(text)
}

/// Why a request starts no timer.
pub(crate) const NOT_IN_A_REQUEST: &str = "timers are started at the top level of a script, not in a request";

/// Remembers that a method of this pool found no member.
pub(crate) fn found_none(ctx: &Context, none: FoundNone) {
    ctx.say(|said| said.found_none = Some(none));
}

/// The beginning of a text, which is the whole of every name and address.
pub(crate) fn shown(text: &LuaString) -> String {
    let bytes = text.as_bytes();
    String::from_utf8_lossy(&bytes[..bytes.len().min(MOST_SHOWN)]).into_owned()
}
