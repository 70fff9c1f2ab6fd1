//! Ends a running turn from anywhere, a signal handler too.

use std::fmt;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// Ends a turn of its [`crate::Prober`]. A wake while no turn runs ends the next one. It takes no lock and allocates
/// nothing, only writes one byte to a socket, so that it may be called inside a signal handler.
#[derive(Clone)]
pub struct Waker(Arc<UnixStream>);

impl Waker {
    /// Ends the running turn at once.
    pub fn wake(&self) {
        // A full socket has enough wakes in it already; a closed one has no prober any more.
        let _ = (&*self.0).write(&[1]);
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waker")
    }
}

/// The prober's end.
#[derive(Debug)]
pub(crate) struct Woken(tokio::net::UnixStream);

impl Woken {
    /// Waits for a wake; takes all of them.
    pub async fn wait(&self) {
        loop {
            if self.0.readable().await.is_err() {
                return std::future::pending().await;
            }
            let mut bytes = [0; 64];
            let mut woken = false;
            loop {
                match self.0.try_read(&mut bytes) {
                    // The prober keeps one waker, so there is no end of file.
                    Ok(0) => return std::future::pending().await,
                    Ok(_) => woken = true,
                    Err(_) => break,
                }
            }
            if woken {
                return;
            }
        }
    }
}

/// A waker and what it wakes. To be called inside the runtime.
pub(crate) fn pair() -> io::Result<(Waker, Woken)> {
    let (waker, woken) = UnixStream::pair()?;
    waker.set_nonblocking(true)?;
    woken.set_nonblocking(true)?;
    Ok((Waker(Arc::new(waker)), Woken(tokio::net::UnixStream::from_std(woken)?)))
}
