// SPDX-License-Identifier: Apache-2.0
//! The picture at several sizes, and what keys do to it.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::draw::{draw, spark};
use super::keys::{Move, pressed};
use super::screen::{Mode, News, Screen};
use crate::live::model::{SeenMember, SeenPool, SeenServer, SeenWhy};
use crate::live::status::Seen;

fn seen() -> Seen {
    let member = |name: &str, state: &str| SeenMember {
        pool: "app".into(),
        name: name.into(),
        state: state.into(),
        weight: 5.0,
        inflight: 3,
        ..SeenMember::default()
    };
    let mut drained = member("b", "draining");
    drained.why = vec![SeenWhy { flag: "draining".into(), by: Some("alice".into()), ..SeenWhy::default() }];
    let pool = SeenPool {
        name: "app".into(),
        usable: 1,
        total: 2,
        members: vec![member("a", "up"), drained],
        ..SeenPool::default()
    };
    let server = SeenServer { version: "0.1.0".into(), ..SeenServer::default() };
    Seen { server, pools: vec![pool], raw: serde_json::Value::Null }
}

fn screen(names: &[&str]) -> Screen {
    let mut screen = Screen::new(names.iter().map(|name| (*name).to_owned()), false);
    for at in 0..names.len() {
        screen.take(News::Seen(at, Box::new(seen()), vec!["something happened".into()]));
    }
    screen
}

fn picture(screen: &Screen, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, screen)).unwrap();
    terminal.backend().to_string()
}

fn press(screen: &mut Screen, keys: &str) -> Move {
    let mut last = Move::Stay;
    for key in keys.chars() {
        let code = match key {
            '\n' => KeyCode::Enter,
            '\t' => KeyCode::Tab,
            letter => KeyCode::Char(letter),
        };
        last = pressed(screen, KeyEvent::new(code, KeyModifiers::NONE));
    }
    last
}

#[test]
fn the_picture_fits_wide_and_narrow_terminals() {
    let one = screen(&["lb1"]);
    insta::assert_snapshot!("eighty", picture(&one, 80, 24));
    let two = screen(&["lb1", "lb2"]);
    insta::assert_snapshot!("side_by_side", picture(&two, 130, 12));
    insta::assert_snapshot!("one_of_two", picture(&two, 60, 8));
    for (width, height) in [(1, 1), (5, 2), (20, 3), (300, 100)] {
        picture(&two, width, height);
    }
}

#[test]
fn orders_name_the_member_under_the_cursor() {
    let mut screen = screen(&["lb1", "lb2"]);
    assert_eq!(press(&mut screen, "jd"), Move::Stay);
    assert!(picture(&screen, 80, 24).contains("drain app/b at lb1? y/n"));
    let Move::Order(order) = press(&mut screen, "y") else { panic!("no order") };
    assert_eq!((order.server, order.name.as_str(), order.patch["admin"].as_str()), (0, "b", Some("drain")));
    assert_eq!(press(&mut screen, "dn"), Move::Stay);
    assert_eq!(screen.mode, Mode::Walk);
    let Move::Order(order) = press(&mut screen, "\tkw2.5x\n") else { panic!("no order") };
    assert_eq!((order.server, order.name.as_str(), order.patch["weight"].as_f64()), (1, "a", Some(2.5)));
    assert_eq!(press(&mut screen, "w\n"), Move::Stay);
    assert_eq!(press(&mut screen, "?q"), Move::Stay);
    assert_eq!(press(&mut screen, "q"), Move::Leave);
}

#[test]
fn a_member_that_goes_takes_no_cursor_with_it() {
    let mut screen = screen(&["lb1"]);
    press(&mut screen, "jjjj");
    let mut fewer = seen();
    fewer.pools.clear();
    screen.take(News::Seen(0, Box::new(fewer), Vec::new()));
    assert_eq!(press(&mut screen, "d"), Move::Stay);
    assert_eq!(screen.mode, Mode::Walk);
    screen.take(News::Away(0, "nobody answers".into()));
    assert!(picture(&screen, 80, 24).contains("away: nobody answers"));
}

#[test]
fn bars_show_the_newest_rates() {
    assert_eq!(spark(&[0.0, 50.0, 100.0], 2), "▅█");
    assert_eq!(spark(&[0.0, 0.0], 9), "▁▁");
    assert_eq!(spark(&[], 9), "");
}

#[test]
fn help_stands_on_rows_of_its_own() {
    let mut screen = screen(&["lb1"]);
    press(&mut screen, "?");
    let text = picture(&screen, 80, 24);
    let rows: Vec<&str> = text.lines().take(9).collect();
    assert!(rows[0].starts_with("\" up down j k    another member") && rows[8].contains("back"), "{text}");
    assert!(rows.iter().all(|row| row.trim_matches(['"', ' ']).chars().count() < 60), "{text}");
}
