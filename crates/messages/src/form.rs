// SPDX-License-Identifier: Apache-2.0
//! Whether a text has a form.

/// A word in capitals of the form stands for any text, and for none.
pub fn fits(form: &str, text: &str) -> bool {
    let pieces = fixed(form);
    let text = text.replace('\\', "");
    let [first, middle @ .., last] = &pieces[..] else {
        return pieces.first().is_none_or(|whole| *whole == text);
    };
    let Some(mut rest) = text.strip_prefix(first.as_str()) else { return false };
    for piece in middle {
        match rest.split_once(piece.as_str()) {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    rest.ends_with(last.as_str())
}

/// The pieces of a form between the words that stand for something.
fn fixed(form: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut word = String::new();
    for letter in form.chars().filter(|letter| *letter != '\\').map(Some).chain([None]) {
        match letter {
            Some(letter) if letter.is_alphanumeric() => word.push(letter),
            other => {
                match is_stand_in(&word) {
                    true => pieces.push(String::new()),
                    false => pieces.last_mut().into_iter().for_each(|piece| piece.push_str(&word)),
                }
                word.clear();
                pieces.last_mut().into_iter().for_each(|piece| piece.extend(other));
            }
        }
    }
    pieces
}

fn is_stand_in(word: &str) -> bool {
    word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_uppercase())
}
