// SPDX-License-Identifier: Apache-2.0
//! Members and settings as the text that is kept in the chunks: the directives' own syntax.

use balance::api::ChangeError;
use balance::member::MemberSpec;
use balance::settings::PoolSettings;

/// The line of a member. What could not be read back as it is, is refused here.
pub(crate) fn line(spec: &MemberSpec) -> Result<String, ChangeError> {
    let line = spec.to_line();
    match MemberSpec::from_line(&line) {
        Ok(read) if read == *spec => Ok(line),
        Ok(_) => Err(ChangeError::Invalid(format!("the member {} cannot be kept: {line}", spec.name))),
        Err(error) => Err(ChangeError::Invalid(format!("the member {} cannot be kept: {error}", spec.name))),
    }
}

/// The member of a line; None when it is damaged.
pub(crate) fn member(line: &[u8]) -> Option<MemberSpec> {
    MemberSpec::from_line(std::str::from_utf8(line).ok()?).ok()
}

/// The text of a pool's settings.
pub(crate) fn text(settings: &PoolSettings) -> Result<String, ChangeError> {
    let text = settings.to_text();
    match PoolSettings::from_text(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(ChangeError::Invalid(format!("the pool's settings cannot be kept: {error}"))),
    }
}

/// The settings of a text; None when it is damaged.
pub(crate) fn settings(text: &[u8]) -> Option<PoolSettings> {
    PoolSettings::from_text(std::str::from_utf8(text).ok()?).ok()
}
