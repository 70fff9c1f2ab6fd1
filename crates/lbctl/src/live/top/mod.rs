// SPDX-License-Identifier: Apache-2.0
//! `lbctl top`: pools and members, live, with keys to steer them.

mod draw;
mod keys;
#[cfg(test)]
mod picture;
mod screen;
#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyEventKind};

use self::keys::Move;
use self::screen::{News, Screen};
use super::args::{StatusArgs, TopArgs};
use super::change::{self, MemberChange};
use super::client::Link;
use super::events::line;
use super::model::SeenEvents;
use super::servers::Servers;
use super::status;
use super::wait;
use crate::out::{Exit, Failure, Out, VerbResult};

/// How long a key may wait for a picture.
const TICK: Duration = Duration::from_millis(100);

/// Runs the verb.
pub fn run(out: &Out, args: &TopArgs) -> VerbResult {
    if args.once {
        return status::run(out, &StatusArgs { login: args.login.clone() });
    }
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(Failure::usage("top needs a terminal; lbctl top --once shows the table once"));
    }
    let pause = wait::duration("--interval", &args.interval)?.max(Duration::from_millis(100));
    let servers = Arc::new(Servers::of(&args.login)?);
    // Nobody there at all is told as text, not on a screen of its own.
    servers.ask(|link| link.get("/api/v1/status")).some(out)?;
    let mut screen = Screen::new(servers.all.iter().map(|link| link.name.clone()), has_colours());
    let (sender, news) = channel();
    for at in 0..servers.all.len() {
        let (servers, sender) = (servers.clone(), sender.clone());
        thread::spawn(move || watch(&servers, at, pause, &sender));
    }
    let mut terminal = ratatui::try_init()?;
    let end = watched(&mut terminal, &mut screen, &Room { servers, sender, news });
    ratatui::try_restore()?;
    end
}

struct Room {
    servers: Arc<Servers>,
    sender: Sender<News>,
    news: Receiver<News>,
}

fn has_colours() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Until somebody wants to leave.
fn watched(terminal: &mut ratatui::DefaultTerminal, screen: &mut Screen, room: &Room) -> VerbResult {
    loop {
        for news in room.news.try_iter() {
            screen.take(news);
        }
        terminal.draw(|frame| draw::draw(frame, screen))?;
        if !event::poll(TICK)? {
            continue;
        }
        let Event::Key(key) = event::read()? else { continue };
        if key.kind != KeyEventKind::Press {
            continue;
        }
        match keys::pressed(screen, key) {
            Move::Stay => {}
            Move::Leave => return Ok(Exit::Done),
            Move::Order(order) => give(room, order),
        }
    }
}

/// Gives an order beside the picture.
fn give(room: &Room, order: MemberChange) {
    let (servers, sender) = (room.servers.clone(), room.sender.clone());
    thread::spawn(move || {
        let said = match servers.all.get(order.server) {
            Some(link) => change::one(link, &order).unwrap_or_else(|failure| failure.text),
            None => String::new(),
        };
        // Nobody listens any more: the picture is gone.
        let _ = sender.send(News::Said(said));
    });
}

/// Tells again and again how a server is, until nobody listens.
fn watch(servers: &Servers, at: usize, pause: Duration, sender: &Sender<News>) {
    let Some(link) = servers.all.get(at) else { return };
    let mut since = None;
    loop {
        let news = match status::whole(link) {
            Ok(seen) => News::Seen(at, Box::new(seen), happened(link, &mut since)),
            Err(failure) => News::Away(at, failure.text),
        };
        if sender.send(news).is_err() {
            return;
        }
        thread::sleep(pause);
    }
}

/// The events since the last time; none where the server cannot tell.
fn happened(link: &Link, since: &mut Option<u64>) -> Vec<String> {
    let query = since.map_or("limit=20".to_owned(), |since| format!("since={since}"));
    let Ok(reply) = link.get(format!("/api/v1/events?{query}")) else { return Vec::new() };
    let Ok(seen) = link.read::<SeenEvents>(&reply.body) else { return Vec::new() };
    *since = Some(seen.next);
    seen.events.iter().map(line).collect()
}
