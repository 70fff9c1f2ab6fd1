// SPDX-License-Identifier: Apache-2.0
//! A connection to an etcd that breaks when it matters.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::etcd::Etcd;

/// A way to an etcd that loses the answer to the next order once it is armed, and all that follows
/// on that connection. While it holds orders, that one comes to the etcd later.
pub struct LossyWay {
    port: u16,
    is_armed: Arc<AtomicBool>,
    holds: Arc<AtomicBool>,
}

impl LossyWay {
    /// Nothing is lost yet.
    pub fn to(etcd: &Etcd) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (is_armed, to) = (Arc::new(AtomicBool::new(false)), etcd.endpoint().replace("http://", ""));
        let holds = Arc::new(AtomicBool::new(false));
        let (armed, held) = (is_armed.clone(), holds.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(&to) else { continue };
                let is_lost = Arc::new(AtomicBool::new(false));
                let (from, into) =
                    (client.try_clone().expect("a clone"), server.try_clone().expect("a clone"));
                let (armed, held, lost) = (armed.clone(), held.clone(), is_lost.clone());
                std::thread::spawn(move || {
                    copy(from, &into, &mut |piece| {
                        let is_order = piece.windows(10).any(|window| window == b"requestPut");
                        if is_order && armed.swap(false, Ordering::SeqCst) {
                            lost.store(true, Ordering::SeqCst);
                            while held.load(Ordering::SeqCst) {
                                std::thread::sleep(Duration::from_millis(10));
                            }
                        }
                        true
                    });
                    if lost.load(Ordering::SeqCst) {
                        // The etcd would leave a question alone whose asker has gone.
                        std::mem::forget(into);
                    } else {
                        let _ = into.shutdown(Shutdown::Both);
                    }
                });
                std::thread::spawn(move || {
                    copy(server, &client, &mut |_| !is_lost.load(Ordering::SeqCst));
                    let _ = client.shutdown(Shutdown::Both);
                });
            }
        });
        LossyWay { port, is_armed, holds }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether an order whose answer is to be lost waits here.
    pub fn holds(&self, holds: bool) {
        self.holds.store(holds, Ordering::SeqCst);
    }

    /// Loses the answer to the next order.
    pub fn arm(&self) {
        self.is_armed.store(true, Ordering::SeqCst);
    }
}

fn copy(mut from: TcpStream, mut to: &TcpStream, passes: &mut dyn FnMut(&[u8]) -> bool) {
    let mut piece = [0; 65_536];
    while let Ok(read @ 1..) = from.read(&mut piece) {
        if passes(&piece[..read]) && to.write_all(&piece[..read]).is_err() {
            break;
        }
    }
}
