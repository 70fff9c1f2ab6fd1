// SPDX-License-Identifier: Apache-2.0
//! The socket of the control plane.

use super::At;
use crate::door_lines::LONGEST_PATH;
use crate::doors::{Group, Socket, SocketPath};
use crate::surroundings::Surroundings;

/// Reads `LuaBalancerSocket`. `group=` without `mode=` gives the group the rights of the owner.
pub(super) fn socket(
    path: Option<String>,
    (mode, group): (Option<u32>, Option<String>),
    at: &At<'_, '_>,
    world: &dyn Surroundings,
) -> Result<Socket, String> {
    let Some(written) = path else {
        return Ok(Socket { path: SocketPath::None, ..Socket::default() });
    };
    let path =
        world.under_runtime(&written).ok_or_else(|| format!("'{written}' is not the path of a file"))?;
    if path.len() > LONGEST_PATH {
        let length = path.len();
        return Err(format!(
            "{path} is too long for a socket: expected at most {LONGEST_PATH} bytes, found {length}"
        ));
    }
    let known = |name: String| match world.group(&name) {
        Some(id) => Ok(Group { name, id }),
        None => Err(format!("group={name}: there is no such group (getent group {name})")),
    };
    let group = group.map(known).transpose()?;
    let default = if group.is_some() { 0o660 } else { 0o600 };
    Ok(Socket { path: SocketPath::At(path, at.place.clone()), mode: mode.unwrap_or(default), group })
}
