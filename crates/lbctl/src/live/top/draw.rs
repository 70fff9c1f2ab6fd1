// SPDX-License-Identifier: Apache-2.0
//! The picture.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph};

use super::super::model::{SeenMember, SeenPool};
use super::super::status::seconds;
use super::screen::{Mode, Panel, Screen};

/// Columns that a server needs beside another one.
const NARROWEST: u16 = 56;
/// Rows of events, where there is room for them.
const EVENTS: u16 = 5;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Draws all of it.
pub fn draw(frame: &mut Frame<'_>, screen: &Screen) {
    let [body, foot] = Layout::vertical([Constraint::Min(0), Constraint::Length(1)]).areas(frame.area());
    let count = u16::try_from(screen.panels.len()).unwrap_or(u16::MAX).max(1);
    if body.width / count >= NARROWEST || count == 1 {
        let places = Layout::horizontal(vec![Constraint::Fill(1); usize::from(count)]).spacing(1).split(body);
        for (at, (panel, place)) in screen.panels.iter().zip(places.iter()).enumerate() {
            server(frame, *place, &Shown { screen, panel, at });
        }
    } else if let Some(panel) = screen.panels.get(screen.at) {
        server(frame, body, &Shown { screen, panel, at: screen.at });
    }
    frame.render_widget(Paragraph::new(footer(screen, foot.width)), foot);
    if screen.mode == Mode::Help {
        help(frame, body);
    }
}

/// A panel of the screen.
struct Shown<'s> {
    screen: &'s Screen,
    panel: &'s Panel,
    at: usize,
}

impl Shown<'_> {
    fn has_cursor(&self) -> bool {
        self.at == self.screen.at
    }

    fn colour(&self, colour: Color) -> Style {
        if self.screen.colours { Style::new().fg(colour) } else { Style::new() }
    }
}

fn server(frame: &mut Frame<'_>, place: Rect, shown: &Shown<'_>) {
    let events = if place.height > 3 * EVENTS && !shown.panel.events.is_empty() { EVENTS + 1 } else { 0 };
    let parts = [Constraint::Length(1), Constraint::Min(0), Constraint::Length(events)];
    let [head, rows, below] = Layout::vertical(parts).areas(place);
    frame.render_widget(Paragraph::new(header(shown)), head);
    let (lines, cursor) = lines(shown, rows.width);
    // The cursor's line is always within the picture.
    let skip = (cursor + 1).saturating_sub(usize::from(rows.height));
    let visible: Vec<Line<'_>> = lines.into_iter().skip(skip).take(usize::from(rows.height)).collect();
    frame.render_widget(Paragraph::new(visible), rows);
    if events > 0 {
        let newest = shown.panel.events.iter().rev().take(usize::from(EVENTS)).rev();
        let mut lines = vec![Line::styled("events", Style::new().add_modifier(Modifier::BOLD))];
        lines.extend(newest.map(|event| Line::raw(event.as_str())));
        frame.render_widget(Paragraph::new(lines), below);
    }
}

fn header(shown: &Shown<'_>) -> Line<'static> {
    let panel = shown.panel;
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let count = shown.screen.panels.len();
    let number = if count > 1 { format!("{}/{count} ", shown.at + 1) } else { String::new() };
    let name = Span::styled(format!("{number}{}  ", panel.name), bold);
    let state = match (&panel.away, &panel.seen) {
        (Some(why), _) => Span::styled(format!("away: {why}"), shown.colour(Color::Red)),
        (None, None) => Span::raw("…"),
        (None, Some(seen)) => {
            let server = &seen.server;
            Span::raw(format!(
                "{} generation {}, {} children",
                server.version,
                server.generation,
                server.children.len()
            ))
        }
    };
    Line::from(vec![name, state])
}

/// All lines, and which of them has the cursor.
fn lines(shown: &Shown<'_>, width: u16) -> (Vec<Line<'static>>, usize) {
    let (mut lines, mut cursor, mut number) = (Vec::new(), 0, 0);
    let warnings = shown.panel.seen.iter().flat_map(|seen| &seen.server.warnings);
    for warning in warnings {
        lines.push(Line::styled(format!("! {}", warning.message), shown.colour(Color::Yellow)));
    }
    if shown.panel.seen.is_some() {
        lines.push(titles());
    }
    for pool in shown.panel.pools() {
        lines.push(pool_line(shown, pool, width));
        for member in &pool.members {
            let is_chosen = shown.has_cursor() && number == shown.screen.cursor;
            if is_chosen {
                cursor = lines.len();
            }
            lines.push(member_line(shown, member, is_chosen));
            number += 1;
        }
    }
    (lines, cursor)
}

fn pool_line(shown: &Shown<'_>, pool: &SeenPool, width: u16) -> Line<'static> {
    let rates = shown.panel.rates(&pool.name);
    let rate = rates.last().copied().unwrap_or(0.0);
    let p95 = pool.latency.p95.map_or("-".into(), seconds);
    let panic = if pool.panic { " PANIC" } else { "" };
    let text = format!(
        "{:<12} {}/{} usable{panic}  {} in flight  {} queued  {rate:.0}/s  p95 {p95}  ",
        pool.name, pool.usable, pool.total, pool.inflight, pool.queued
    );
    let room = usize::from(width).saturating_sub(text.chars().count());
    let bad = pool.panic || pool.usable == 0;
    let style = if bad { shown.colour(Color::Red) } else { shown.colour(Color::Cyan) };
    let spark = Span::raw(spark(&rates, room.min(40)));
    Line::from(vec![Span::styled(text, style.add_modifier(Modifier::BOLD)), spark])
}

/// The newest rates as bars.
pub fn spark(rates: &[f64], room: usize) -> String {
    let most = rates.iter().copied().fold(0.0, f64::max);
    let newest = rates.iter().skip(rates.len().saturating_sub(room));
    let bar = |rate: &f64| {
        let step = if most > 0.0 { (rate / most * 7.0).round() as usize } else { 0 };
        BARS.get(step).copied().unwrap_or('█')
    };
    newest.map(bar).collect()
}

/// The columns of a member's line.
fn titles() -> Line<'static> {
    let text = format!(
        " {:<14} {:<9}{:>6}{:>6}{:>8}{:>8}{:>7}  why",
        "member", "state", "weight", "busy", "req/s", "failed", "p95"
    );
    Line::styled(text, Style::new().add_modifier(Modifier::UNDERLINED))
}

fn member_line(shown: &Shown<'_>, member: &SeenMember, is_chosen: bool) -> Line<'static> {
    let rate = shown.panel.rates(&member.full()).last().copied().unwrap_or(0.0);
    let p95 = member.latency.p95.map_or("-".into(), seconds);
    let mark = if is_chosen { '>' } else { ' ' };
    let front = format!("{mark}{:<14} ", cut(&member.name, 14));
    let state = format!("{:<9}", cut(&member.state, 9));
    let rest = format!(
        "{:>6}{:>6}{rate:>8.0}{:>8}{p95:>7}  {}",
        member.weight.to_string(),
        member.inflight,
        member.failed(),
        member.because()
    );
    let colour = match member.state.as_str() {
        "up" => Color::Green,
        "draining" | "ejected" => Color::Yellow,
        _ => Color::Red,
    };
    let chosen = if is_chosen { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
    let spans = vec![Span::raw(front), Span::styled(state, shown.colour(colour)), Span::raw(rest)];
    Line::from(spans).style(chosen)
}

fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

fn footer(screen: &Screen, width: u16) -> Line<'static> {
    let text = match &screen.mode {
        Mode::Confirm(order) => {
            let server = screen.panels.get(order.server).map_or("", |panel| &panel.name);
            format!("{} {}/{} at {server}? y/n", order.verb, order.pool, order.name)
        }
        Mode::Weigh(member, text) => format!("weight of {member}: {text}_  (Enter, Esc)"),
        _ if !screen.message.is_empty() => format!("{}  (? help, q quit)", screen.message),
        _ => "d drain  e enable  x disable  w weight  r reset  ↑↓ Tab  ? help  q quit".into(),
    };
    Line::styled(cut(&text, usize::from(width)), Style::new().add_modifier(Modifier::BOLD))
}

fn help(frame: &mut Frame<'_>, body: Rect) {
    const TEXT: &str = " \
up down j k    another member
 Tab            another server
 d              drain: no new sessions, what is there ends
 e              enable: serve again
 x              disable
 w              weight: digits, then Enter
 r              reset: ejection ends, failures count from 0
 q Esc Ctrl-C   leave
 any key        back";
    // Rows as a whole: the rest of a table beside it would be read as a part of it.
    let [place] = Layout::vertical([Constraint::Max(10)]).areas(body);
    frame.render_widget(Clear, place);
    frame.render_widget(Paragraph::new(TEXT), place);
}
