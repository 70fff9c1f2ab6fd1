// SPDX-License-Identifier: Apache-2.0
//! The thread that answers at the Unix socket and at the listener of metrics. No request of the
//! server and no script runs on it, so that it is free while all workers are held.

use std::cell::RefCell;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::rc::Rc;
use std::sync::Arc;

use control::{Admin, Caller, Request, Response, WaitingCall};
use listen::{
    AnswerWhen, Answerer, Aside, ConnectionLimits, DoorKeeper, Ender, Entrance, Incoming, Listener, Outgoing,
    Parked, Refuser, RemoteEnd,
};

use super::house::ChildHouse;
use crate::faults;
use crate::guard::guard;
use crate::httpd::{accounts, log, memory};
use crate::keep::doors::TakenOver;
use crate::serve::child::{Child, Thread};

/// Starts the thread, if there is anything to answer at. Its end is the child's affair.
pub fn start(child: &'static Child) {
    let taken = child.doors.take();
    if child.table.has_successor() {
        // It was born too late.
        child.answering.close();
    }
    if taken.socket.is_none() && taken.metrics.is_none() {
        child.table.note_closed(&child.lane);
        return;
    }
    let ender = child.answering.begins();
    let body = move || {
        guard((), || serve(child, taken, ender));
        child.table.note_closed(&child.lane);
        child.answering.has_ended();
    };
    let spawned = memory::with_signals_blocked(|| {
        std::thread::Builder::new().name("lua-balancer-cp".into()).spawn(body)
    });
    if let Err(error) = spawned {
        child.table.note_closed(&child.lane);
        child.answering.has_ended();
        let text = format!("no thread for the control plane's sockets in this child: {error}");
        log::server(messages::control::NO_THREAD, &text);
    }
}

fn serve(child: &'static Child, taken: TakenOver, ender: Ender) {
    match DoorKeeper::new(doors(child, taken), ender) {
        Ok(server) => server.run(|| child.table.note_closed(&child.lane)),
        Err(error) => {
            log::server(
                messages::control::NOT_ANSWERED,
                &format!("the control plane's sockets are not answered by this child: {error}"),
            );
        }
    }
}

fn doors(child: &'static Child, taken: TakenOver) -> Vec<Entrance> {
    let house = Rc::new(ChildHouse::new(child, &Thread::new(child)));
    let mut doors = Vec::new();
    if let Some(socket) = taken.socket {
        let listener = Listener::Unix(UnixListener::from(socket));
        let refuse = refusals(house.clone(), control::Door::Socket);
        let answer = answers(house.clone(), control::Door::Socket);
        let aside: Aside = Arc::new(move |incoming| changed(child, &incoming));
        let limits = ConnectionLimits::default();
        doors.push(Entrance { listener, limits, refuse, answer, aside: Some(aside) });
    }
    if let Some(socket) = taken.metrics {
        let listener = Listener::Tcp(TcpListener::from(socket));
        let limits = ConnectionLimits { most_body: 0, ..ConnectionLimits::default() };
        let refuse = refusals(house.clone(), control::Door::Metrics);
        let answer = answers(house, control::Door::Metrics);
        doors.push(Entrance { listener, limits, refuse, answer, aside: None });
    }
    doors
}

fn answers(house: Rc<ChildHouse>, door: control::Door) -> Answerer {
    let users = Rc::new(Users::default());
    Rc::new(move |incoming| {
        let at = At { house: house.clone(), users: users.clone(), door };
        match guard(None, || at.waiting(&incoming)) {
            Some(waiting) => AnswerWhen::Later(parked(at, incoming, waiting)),
            None => AnswerWhen::Now(at.answer(&incoming)),
        }
    })
}

/// The things that answers at a door are made of.
struct At {
    house: Rc<ChildHouse>,
    users: Rc<Users>,
    door: control::Door,
}

impl At {
    fn answer(&self, incoming: &Incoming) -> Outgoing {
        // A panic is logged by the panic hook, and costs this answer.
        guard(None, || {
            faults::point("control");
            Some(answer(incoming, self.door, &self.users, &self.house))
        })
        .unwrap_or_else(|| Outgoing { status: 500, ..Outgoing::default() })
    }

    /// None: the request is to be answered now.
    fn waiting(&self, incoming: &Incoming) -> Option<WaitingCall> {
        let mut waiting =
            WaitingCall::of(&asked(incoming, Caller { door: self.door, user: None, from: None }))?;
        (!waiting.is_over(self.house.as_ref())).then_some(waiting)
    }
}

/// The answer to a request that waits until something has happened.
fn parked(at: At, incoming: Incoming, mut waiting: WaitingCall) -> Parked {
    let (at, incoming) = (Rc::new(at), Rc::new(incoming));
    let (later, same) = (at.clone(), incoming.clone());
    Parked {
        wait: waiting.longest(),
        look: Box::new(move || {
            let is_over = guard(true, || waiting.is_over(at.house.as_ref()));
            is_over.then(|| at.answer(&incoming))
        }),
        give_up: Box::new(move || later.answer(&same)),
    }
}

/// Refuses heads. The caller makes no difference to that at these doors, so its name is not looked
/// up.
fn refusals(house: Rc<ChildHouse>, door: control::Door) -> Refuser {
    Rc::new(move |incoming| {
        let caller = Caller { door, user: None, from: None };
        house.close_if_superseded();
        let refused = guard(None, || control::admit(&asked(incoming, caller), &*house).err());
        refused.map(outgoing)
    })
}

/// A change at the socket, on a thread of its own: one of many members takes a while.
fn changed(child: &'static Child, incoming: &Incoming) -> Outgoing {
    guard(None, || {
        faults::point("control");
        let house = ChildHouse::new(child, &Thread::new(child));
        Some(answer(incoming, control::Door::Socket, &Users::default(), &house))
    })
    .unwrap_or_else(|| Outgoing { status: 500, ..Outgoing::default() })
}

fn answer(incoming: &Incoming, door: control::Door, users: &Users, house: &ChildHouse) -> Outgoing {
    let (user, from) = match incoming.peer {
        RemoteEnd::User(number) => (Some(users.name(number)), None),
        RemoteEnd::Address(address) => (None, Some(address.to_string())),
        RemoteEnd::Unknown => (None, None),
    };
    house.close_if_superseded();
    outgoing(control::respond(&asked(incoming, Caller { door, user, from }), house))
}

fn asked(incoming: &Incoming, caller: Caller) -> Request<'_> {
    Request {
        method: &incoming.method,
        base: "",
        path: &incoming.path,
        query: incoming.query.as_deref(),
        headers: &incoming.headers,
        body: &incoming.body,
        caller,
        // The file's rights alone say what the socket's callers may do.
        admin: Admin::default(),
    }
}

fn outgoing(response: Response) -> Outgoing {
    Outgoing { status: response.status, headers: response.headers, body: response.body }
}

/// Names of users that were looked up: where accounts are kept elsewhere, that may take a while.
#[derive(Default)]
struct Users(RefCell<Vec<(u32, String)>>);

impl Users {
    /// Most names that are kept.
    const MOST: usize = 64;

    fn name(&self, number: u32) -> String {
        let mut known = self.0.borrow_mut();
        if let Some((_, name)) = known.iter().find(|(other, _)| *other == number) {
            return name.clone();
        }
        let name = accounts::user(number).unwrap_or_else(|| format!("uid {number}"));
        known.truncate(Self::MOST - 1);
        known.insert(0, (number, name.clone()));
        name
    }
}
