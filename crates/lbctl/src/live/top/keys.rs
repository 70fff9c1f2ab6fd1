// SPDX-License-Identifier: Apache-2.0
//! The keys and their effects.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::json;

use super::super::change::MemberChange;
use super::screen::{Mode, Screen};

/// The effect of a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Move {
    /// Nothing but another picture.
    Stay,
    /// The end.
    Leave,
    /// An order.
    Order(MemberChange),
}

/// A key was pressed.
pub fn pressed(screen: &mut Screen, key: KeyEvent) -> Move {
    if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
        return Move::Leave;
    }
    match screen.mode.clone() {
        Mode::Walk => walking(screen, key.code),
        Mode::Weigh(member, text) => weighing(screen, key.code, member, text),
        Mode::Confirm(order) => {
            screen.mode = Mode::Walk;
            match key.code {
                KeyCode::Char('y') | KeyCode::Enter => ordered(screen, order),
                _ => {
                    screen.message = "nothing is changed".into();
                    Move::Stay
                }
            }
        }
        Mode::Help => {
            screen.mode = Mode::Walk;
            Move::Stay
        }
    }
}

fn walking(screen: &mut Screen, key: KeyCode) -> Move {
    match key {
        KeyCode::Char('q') | KeyCode::Esc => return Move::Leave,
        KeyCode::Down | KeyCode::Char('j') => screen.walk(1),
        KeyCode::Up | KeyCode::Char('k') => screen.walk(-1),
        KeyCode::PageDown => screen.walk(10),
        KeyCode::PageUp => screen.walk(-10),
        KeyCode::Tab | KeyCode::Right | KeyCode::Char('l') => screen.next_panel(),
        KeyCode::Char('?' | 'h') => screen.mode = Mode::Help,
        KeyCode::Char('d') => ask(screen, "drain"),
        KeyCode::Char('x') => ask(screen, "disable"),
        KeyCode::Char('e') => {
            if let Some(order) = order(screen, "enable") {
                return ordered(screen, order);
            }
        }
        KeyCode::Char('r') => {
            if let Some(order) = order(screen, "reset") {
                return ordered(screen, order);
            }
        }
        KeyCode::Char('w') => {
            if let Some(member) = screen.chosen() {
                screen.mode = Mode::Weigh(member.full(), String::new());
            }
        }
        _ => {}
    }
    Move::Stay
}

/// A verb that takes something from service is asked for twice.
fn ask(screen: &mut Screen, verb: &'static str) {
    if let Some(order) = order(screen, verb) {
        screen.mode = Mode::Confirm(order);
    }
}

fn order(screen: &Screen, verb: &'static str) -> Option<MemberChange> {
    let member = screen.chosen()?;
    let patch = match verb {
        "drain" => json!({ "admin": "drain" }),
        "disable" => json!({ "admin": "disabled" }),
        "enable" => json!({ "admin": "ready" }),
        _ => json!({ "reset": true }),
    };
    let (pool, name) = (member.pool.clone(), member.name.clone());
    Some(MemberChange { server: screen.at, pool, name, verb: verb.to_owned(), patch })
}

fn ordered(screen: &mut Screen, order: MemberChange) -> Move {
    screen.message = format!("{} {}/{} …", order.verb, order.pool, order.name);
    Move::Order(order)
}

fn weighing(screen: &mut Screen, key: KeyCode, member: String, mut text: String) -> Move {
    match key {
        KeyCode::Esc => screen.mode = Mode::Walk,
        KeyCode::Enter => {
            screen.mode = Mode::Walk;
            let Ok(weight) = text.parse::<f64>() else {
                screen.message = format!("'{text}' is not a weight");
                return Move::Stay;
            };
            if let Some((pool, name)) = member.split_once('/') {
                let (pool, name) = (pool.to_owned(), name.to_owned());
                let patch = json!({ "weight": weight });
                let verb = format!("weight {weight}:");
                return ordered(screen, MemberChange { server: screen.at, pool, name, verb, patch });
            }
        }
        KeyCode::Backspace => {
            text.pop();
            screen.mode = Mode::Weigh(member, text);
        }
        KeyCode::Char(letter) if (letter.is_ascii_digit() || letter == '.') && text.len() < 8 => {
            text.push(letter);
            screen.mode = Mode::Weigh(member, text);
        }
        _ => {}
    }
    Move::Stay
}
