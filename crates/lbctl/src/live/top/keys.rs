// SPDX-License-Identifier: Apache-2.0
//! What keys do.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::json;

use super::super::change::Order;
use super::screen::{Mode, Screen};

/// What follows from a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing but another picture.
    Stay,
    /// The end.
    Leave,
    /// An order.
    Order(Order),
}

/// A key was pressed.
pub fn pressed(screen: &mut Screen, key: KeyEvent) -> Step {
    if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
        return Step::Leave;
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
                    Step::Stay
                }
            }
        }
        Mode::Help => {
            screen.mode = Mode::Walk;
            Step::Stay
        }
    }
}

fn walking(screen: &mut Screen, key: KeyCode) -> Step {
    match key {
        KeyCode::Char('q') | KeyCode::Esc => return Step::Leave,
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
    Step::Stay
}

/// What takes something from service is asked for twice.
fn ask(screen: &mut Screen, verb: &'static str) {
    if let Some(order) = order(screen, verb) {
        screen.mode = Mode::Confirm(order);
    }
}

fn order(screen: &Screen, verb: &'static str) -> Option<Order> {
    let member = screen.chosen()?;
    let patch = match verb {
        "drain" => json!({ "admin": "drain" }),
        "disable" => json!({ "admin": "disabled" }),
        "enable" => json!({ "admin": "ready" }),
        _ => json!({ "reset": true }),
    };
    let (pool, name) = (member.pool.clone(), member.name.clone());
    Some(Order { server: screen.at, pool, name, verb: verb.to_owned(), patch })
}

fn ordered(screen: &mut Screen, order: Order) -> Step {
    screen.message = format!("{} {}/{} …", order.verb, order.pool, order.name);
    Step::Order(order)
}

fn weighing(screen: &mut Screen, key: KeyCode, member: String, mut text: String) -> Step {
    match key {
        KeyCode::Esc => screen.mode = Mode::Walk,
        KeyCode::Enter => {
            screen.mode = Mode::Walk;
            let Ok(weight) = text.parse::<f64>() else {
                screen.message = format!("'{text}' is no weight");
                return Step::Stay;
            };
            if let Some((pool, name)) = member.split_once('/') {
                let (pool, name) = (pool.to_owned(), name.to_owned());
                let patch = json!({ "weight": weight });
                let verb = format!("weight {weight}:");
                return ordered(screen, Order { server: screen.at, pool, name, verb, patch });
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
    Step::Stay
}
