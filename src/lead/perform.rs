// SPDX-License-Identifier: Apache-2.0
//! The network of timers, checks and sources in Lua: what a run waits for is done here.

use std::cell::RefCell;
use std::rc::Rc;

use probe::{Client, Tcp};
use script::{Connection, HttpAnswer, HttpRequest, Io, Reply};

/// A connection of a script; taken out while it is used, so that a use that is given up closes it.
type Shared = RefCell<Option<Tcp>>;

/// Does it.
pub async fn perform(client: &Client, io: Io) -> Reply {
    match io {
        Io::Http(request) => Reply::Http(http(client, request).await),
        Io::Connect { host, port, timeout } => {
            let made = client.connect(&host, port, timeout).await;
            Reply::Connected(made.map(|tcp| Connection(Rc::new(Shared::new(Some(tcp))))))
        }
        Io::Sleep { timeout } => {
            client.sleep(timeout).await;
            Reply::Slept
        }
        Io::Resolve { host, timeout } => {
            let found = client.resolve(&host, timeout).await;
            Reply::Resolved(found.map(|addresses| addresses.iter().map(ToString::to_string).collect()))
        }
        Io::Send { on, data, timeout } => Reply::Sent(match taken(&on) {
            Ok((place, mut tcp)) => {
                let sent = client.send(&mut tcp, &data, timeout).await;
                place.replace(Some(tcp));
                sent
            }
            Err(why) => Err(why),
        }),
        Io::Receive { on, timeout } => Reply::Received(match taken(&on) {
            Ok((place, mut tcp)) => {
                let received = client.receive(&mut tcp, timeout).await;
                place.replace(Some(tcp));
                received
            }
            Err(why) => Err(why),
        }),
    }
}

fn taken(on: &Connection) -> Result<(Rc<Shared>, Tcp), String> {
    let place = on.0.clone().downcast::<Shared>().map_err(|_| "closed".to_owned())?;
    let tcp = place.borrow_mut().take();
    tcp.map(|tcp| (place, tcp)).ok_or_else(|| "this socket is in use by another run".to_owned())
}

async fn http(client: &Client, request: HttpRequest) -> Result<HttpAnswer, String> {
    let HttpRequest { url, method, headers, body, verify, timeout } = request;
    let request = probe::Request { url: &url, method: &method, headers: &headers, body, verify, timeout };
    let probe::ProbeResponse { status, headers, body } = client.http(request).await?;
    Ok(HttpAnswer { status, headers, body })
}
