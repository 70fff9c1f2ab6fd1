// SPDX-License-Identifier: Apache-2.0
//! `LuaBalancerShare`, of the server or of a pool.

use crate::error::ParseError;
use crate::settings::{Shared, SharedHealth};

/// The directive's name.
pub(super) const DIRECTIVE: &str = "LuaBalancerShare";
const WORDS: &str = "none, or some of orders, health, health=show, health=quorum and limits";

/// Reads its words.
pub(super) fn read(words: &[String]) -> Result<Shared, ParseError> {
    let mut shared = Shared::default();
    if words.is_empty() {
        return Err(ParseError::Missing(WORDS.to_owned()));
    }
    if let [none] = words
        && none == "none"
    {
        return Ok(shared);
    }
    for word in words {
        let is_new = match word.as_str() {
            "orders" => !std::mem::replace(&mut shared.orders, true),
            "limits" => !std::mem::replace(&mut shared.limits, true),
            "health" | "health=show" => shared.health.replace(SharedHealth::Show).is_none(),
            "health=quorum" => shared.health.replace(SharedHealth::Quorum).is_none(),
            _ => false,
        };
        if !is_new {
            return Err(ParseError::word(word, WORDS));
        }
    }
    Ok(shared)
}

pub(super) fn write(of: &Shared) -> String {
    format!("{DIRECTIVE} {}", of.to_words())
}

impl Shared {
    /// Reads the words of the directive.
    ///
    /// # Errors
    /// One of them is unknown or stands there twice, or there is none.
    pub fn parse(words: &[String]) -> Result<Self, ParseError> {
        read(words)
    }

    /// The words of the directive.
    pub fn to_words(&self) -> String {
        let health = self.health.map(|health| match health {
            SharedHealth::Show => "health",
            SharedHealth::Quorum => "health=quorum",
        });
        let words = [self.orders.then_some("orders"), health, self.limits.then_some("limits")];
        let words: Vec<&str> = words.into_iter().flatten().collect();
        if words.is_empty() { "none".to_owned() } else { words.join(" ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::PoolSettings;

    fn read(text: &str) -> Result<Shared, String> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        let mut settings = PoolSettings::default();
        settings.set_directive(DIRECTIVE, &words).map_err(|error| error.to_string())?;
        assert_eq!(PoolSettings::from_text(&settings.to_text()).as_ref(), Ok(&settings), "{text}");
        Ok(settings.share.expect("what is shared"))
    }

    #[test]
    fn words_are_read_in_any_order_and_each_once() {
        assert_eq!(read("none"), Ok(Shared::default()));
        assert_eq!(read("orders"), Ok(Shared { orders: true, ..Shared::default() }));
        assert_eq!(read("limits orders"), Ok(Shared { orders: true, limits: true, ..Shared::default() }));
        let health = |health| Ok(Shared { health: Some(health), ..Shared::default() });
        assert_eq!(
            (read("health"), read("health=show")),
            (health(SharedHealth::Show), health(SharedHealth::Show))
        );
        assert_eq!(read("health=quorum"), health(SharedHealth::Quorum));
        for wrong in [
            "",
            "orders none",
            "none orders",
            "orders orders",
            "health health=quorum",
            "health=all",
            "everything",
            "orders=on",
        ] {
            let said = read(wrong).expect_err(wrong);
            assert!(said.contains("expected none"), "{wrong}: {said}");
        }
    }
}
