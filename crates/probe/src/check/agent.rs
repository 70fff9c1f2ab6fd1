//! Asks an agent.

use tokio::io::AsyncReadExt;

use super::connect::Address;
use super::{Failure, Outcome};
use crate::agent::{AgentReply, AgentState, LONGEST, parse};
use crate::text::io_error;

pub(super) async fn ask(address: &Address) -> Result<Outcome, Failure> {
    let mut stream = address.connect().await?;
    let mut bytes = Vec::with_capacity(64);
    // One byte more than is allowed tells a line that is too long from one that just fits.
    while bytes.len() <= LONGEST && !bytes.contains(&b'\n') {
        let mut limited = (&mut stream).take((LONGEST + 1 - bytes.len()) as u64);
        match limited.read_buf(&mut bytes).await {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => return Err(Failure::Agent(io_error(&error))),
        }
    }
    let reply = parse(&bytes).map_err(|error| Failure::Agent(error.to_string()))?;
    Ok(Outcome { ok: reply.is_ok(), why: describe(&reply), agent: Some(reply) })
}

fn describe(reply: &AgentReply) -> String {
    let mut words = vec!["agent:".to_owned()];
    words.extend(reply.state.map(|state| {
        let word = match state {
            AgentState::Up => "up",
            AgentState::Drain => "drain",
            AgentState::Down => "down",
            AgentState::Maint => "maint",
        };
        word.to_owned()
    }));
    words.extend(reply.weight_percent.map(|percent| format!("{percent}%")));
    words.extend(reply.reason.as_ref().map(|reason| format!("({reason})")));
    words.join(" ")
}
