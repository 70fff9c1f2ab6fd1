// SPDX-License-Identifier: Apache-2.0
//! The picture of `lbctl top` in the documentation: made by scripts/pictures, and compared here.

use std::fmt::Write as _;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Cell;
use ratatui::style::{Color, Modifier};

use super::draw::draw;
use super::screen::{News, Screen};
use crate::live::model::{SeenLatency, SeenLeader, SeenMember, SeenPool, SeenServer, SeenWhy};
use crate::live::status::Seen;

const COLUMNS: u16 = 100;
const ROWS: u16 = 24;
/// Pixels of a letter.
const WIDE: f64 = 8.4;
const HIGH: f64 = 18.0;

fn member(
    pool: &str,
    name: &str,
    (state, weight): (&str, f64),
    (busy, asked, p95): (u64, u64, f64),
) -> SeenMember {
    SeenMember {
        pool: pool.into(),
        name: name.into(),
        state: state.into(),
        weight,
        inflight: busy,
        attempts: [("ok".to_owned(), asked), ("connect".to_owned(), asked / 2000)].into(),
        latency: SeenLatency { p95: Some(p95), ..SeenLatency::default() },
        ..SeenMember::default()
    }
}

fn pool(name: &str, method: &str, members: Vec<SeenMember>) -> SeenPool {
    let usable = members.iter().filter(|member| member.state == "up").count() as u64;
    SeenPool {
        name: name.into(),
        method: method.into(),
        usable,
        total: members.len() as u64,
        inflight: members.iter().map(|member| member.inflight).sum(),
        requests: [("ok".to_owned(), 90_000)].into(),
        latency: SeenLatency { p95: Some(0.061), ..SeenLatency::default() },
        members,
        ..SeenPool::default()
    }
}

fn screen() -> Screen {
    let mut drained = member("app", "b", ("draining", 1.0), (2, 17_804, 0.043));
    drained.why = vec![SeenWhy {
        flag: "draining".into(),
        by: Some("alice".into()),
        note: Some("deploy 42".into()),
        ..SeenWhy::default()
    }];
    let mut down = member("api", "y", ("down", 1.0), (0, 6_120, 0.2));
    down.why = vec![SeenWhy { flag: "down".into(), ..SeenWhy::default() }];
    let app = vec![
        member("app", "a", ("up", 5.0), (14, 63_911, 0.041)),
        drained,
        member("app", "c", ("up", 1.0), (4, 12_340, 0.058)),
    ];
    let pools = vec![
        pool("app", "least_connections", app),
        pool("api", "round_robin", vec![member("api", "x", ("up", 1.0), (6, 44_020, 0.12)), down]),
    ];
    let children = [101, 102, 103].map(|pid| serde_json::json!({ "pid": pid }));
    let server = SeenServer {
        version: "0.1.0".into(),
        generation: 3,
        children: children.into(),
        leader: Some(SeenLeader { pid: 101 }),
        ..SeenServer::default()
    };
    let mut screen = Screen::new(std::iter::once("lb1.example.org".to_owned()), true);
    let events = [
        "2026-11-30T09:12:04Z state api/y up → down: refused",
        "2026-11-30T09:12:31Z admin app/b ready → drain by alice: deploy 42",
    ];
    let seen = Seen { server, pools, raw: serde_json::Value::Null };
    screen.take(News::Seen(0, Box::new(seen), events.map(str::to_owned).to_vec()));
    let wave = |base: f64, swing: f64| -> Vec<f64> {
        (0..60).map(|at| base + swing * (f64::from(at) / 6.0).sin()).collect()
    };
    for (name, base) in
        [("app", 180.0), ("app/a", 140.0), ("app/b", 3.0), ("app/c", 37.0), ("api", 64.0), ("api/x", 64.0)]
    {
        screen.panels[0].pretend(name, wave(base, base / 3.0));
    }
    screen
}

fn colour(colour: Color, otherwise: &'static str) -> &'static str {
    match colour {
        Color::Red => "#f2777a",
        Color::Green => "#99cc99",
        Color::Yellow => "#ffcc66",
        Color::Cyan => "#66cccc",
        Color::DarkGray => "#888888",
        _ => otherwise,
    }
}

/// A run of letters that look the same.
fn run(text: &mut String, (row, column): (u16, u16), cell: &Cell, letters: &str) {
    let (x, y) = (f64::from(column) * WIDE + 10.0, f64::from(row) * HIGH + 10.0);
    let width = letters.chars().count() as f64 * WIDE;
    let is_turned = cell.modifier.contains(Modifier::REVERSED);
    let (front, back) = (colour(cell.fg, "#dddddd"), colour(cell.bg, "#1d1f21"));
    let (front, back) = if is_turned { (back, front) } else { (front, back) };
    // Writing into a text cannot fail.
    if back != "#1d1f21" {
        let _ = writeln!(
            text,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{HIGH}\" fill=\"{back}\"/>"
        );
    }
    if letters.trim().is_empty() {
        return;
    }
    let weight = if cell.modifier.contains(Modifier::BOLD) { " font-weight=\"bold\"" } else { "" };
    let escaped = letters.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        text,
        "<text x=\"{x:.1}\" y=\"{:.1}\" textLength=\"{width:.1}\" fill=\"{front}\"{weight}>{escaped}</text>",
        y + 13.0
    );
}

fn svg(screen: &Screen) -> String {
    let mut terminal = Terminal::new(TestBackend::new(COLUMNS, ROWS)).unwrap();
    terminal.draw(|frame| draw(frame, screen)).unwrap();
    let buffer = terminal.backend().buffer().clone();
    let (wide, high) = (f64::from(COLUMNS) * WIDE + 20.0, f64::from(ROWS) * HIGH + 20.0);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {wide:.0} {high:.0}\" xml:space=\"preserve\" \
         font-family=\"ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace\" font-size=\"14\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"#1d1f21\"/>\n"
    );
    for row in 0..ROWS {
        let (mut column, mut letters) = (0, String::new());
        for at in 0..COLUMNS {
            let (first, cell) = (&buffer[(column, row)], &buffer[(at, row)]);
            if (first.fg, first.bg, first.modifier) != (cell.fg, cell.bg, cell.modifier) {
                run(&mut text, (row, column), first, &letters);
                (column, letters) = (at, String::new());
            }
            letters.push_str(cell.symbol());
        }
        run(&mut text, (row, column), &buffer[(column, row)], &letters);
    }
    text + "</svg>\n"
}

#[test]
fn the_picture_in_the_documentation_is_what_top_draws() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/pictures/top.svg");
    let drawn = svg(&screen());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &drawn).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == drawn, "docs/pictures/top.svg is another one: scripts/pictures makes it anew");
}
