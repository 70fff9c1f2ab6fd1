// SPDX-License-Identifier: Apache-2.0
//! The ring of `resty.chash`: ketama over CRC-32, the points that nginx makes for the same ids.

use std::rc::Rc;

use mlua::{Lua, LuaString, Table, UserData, UserDataMethods, Value};

use crate::context::Context;

/// Points a unit of weight.
const POINTS: u32 = 160;
/// Most points of one ring.
const MOST: f64 = 4_000_000.0;
/// Bytes of a point.
const POINT: u64 = 8;

struct Ring {
    ids: Vec<Vec<u8>>,
    /// Hash and index of the id, sorted by hash, each hash once.
    points: Vec<(u32, u32)>,
}

/// `ring({ id, weight, id, weight, … })`.
pub(crate) fn install(lua: &Lua, ctx: &Rc<Context>, table: &Table) -> mlua::Result<()> {
    let ctx = ctx.clone();
    let make = move |lua: &Lua, list: Table| {
        let mut nodes = Vec::new();
        for at in (1..=list.raw_len()).step_by(2) {
            nodes.push((list.raw_get::<LuaString>(at)?.as_bytes().to_vec(), list.raw_get::<f64>(at + 1)?));
        }
        // With all weights zero each node is as good as any.
        let least = if nodes.iter().all(|(_, weight)| *weight == 0.0) { 1.0 } else { 0.0 };
        let total: f64 = nodes.iter().map(|(_, weight)| weight.max(least)).sum();
        if !(0.0..=MOST / f64::from(POINTS)).contains(&total) {
            return Err(mlua::Error::runtime(format!(
                "resty.chash: the weights add up to {total}, at most {}",
                MOST / f64::from(POINTS)
            )));
        }
        let nodes: Vec<(Vec<u8>, u32)> = nodes
            .into_iter()
            .map(|(id, weight)| (id, (weight.max(least) * f64::from(POINTS)) as u32))
            .collect();
        let points: u64 = nodes.iter().map(|(_, points)| u64::from(*points)).sum();
        ctx.spend(usize::try_from(points * POINT).unwrap_or(usize::MAX))?;
        lua.create_userdata(Ring::new(nodes))
    };
    table.raw_set("ring", lua.create_function(make)?)?;
    table.raw_set("weight", lua.create_function(weight)?)
}

/// A node's weight as the originals take it: any number, or text that is one.
fn weight(lua: &Lua, (id, value): (String, Value)) -> mlua::Result<Value> {
    let number = match &value {
        Value::Integer(_) | Value::Number(_) | Value::String(_) => lua.coerce_number(value.clone())?,
        _ => None,
    };
    match number {
        Some(number) if number.fract() == 0.0 && (0.0..1e15).contains(&number) => {
            Ok(Value::Integer(number as i64))
        }
        Some(number) if number >= 0.0 && number.is_finite() => Ok(Value::Number(number)),
        _ => {
            let found = value.to_string().unwrap_or_else(|_| value.type_name().to_owned());
            Err(mlua::Error::runtime(format!("weight of {id}: expected a number from 0, found {found}")))
        }
    }
}

impl Ring {
    /// Ids, each with its number of points.
    fn new(nodes: Vec<(Vec<u8>, u32)>) -> Self {
        let mut points = Vec::new();
        for (index, (id, count)) in (0..).zip(&nodes) {
            let mut base = crc32fast::Hasher::new();
            base.update(id);
            let mut previous = 0_u32;
            for _ in 0..*count {
                let mut point = base.clone();
                point.update(&previous.to_le_bytes());
                previous = point.finalize();
                points.push((previous, index));
            }
        }
        points.sort_by_key(|(hash, _)| *hash);
        points.dedup_by_key(|(hash, _)| *hash);
        Ring { ids: nodes.into_iter().map(|(id, _)| id).collect(), points }
    }

    /// The id of the point at this place, counted from 0, around the ring.
    fn at(&self, index: usize) -> Option<(&[u8], usize)> {
        let index = index.checked_rem(self.points.len())?;
        Some((&self.ids[self.points[index].1 as usize], index))
    }
}

impl UserData for Ring {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("find", |lua, this, key: LuaString| {
            let hash = crc32fast::hash(&key.as_bytes());
            let found = this.at(this.points.partition_point(|(point, _)| *point < hash));
            found.map(|(id, index)| Ok((lua.create_string(id)?, index + 1))).transpose().map(Option::unzip)
        });
        methods.add_method("next", |lua, this, index: usize| {
            let found = this.at(index);
            found.map(|(id, index)| Ok((lua.create_string(id)?, index + 1))).transpose().map(Option::unzip)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_point_wraps_around() {
        let ring = Ring::new(vec![(b"a\x0080".to_vec(), POINTS), (b"b\x0080".to_vec(), POINTS)]);
        assert!(ring.points.len() <= 320 && ring.points.len() > 310);
        assert!(ring.points.is_sorted());
        assert_eq!(ring.at(ring.points.len()), ring.at(0));
        assert_eq!(Ring::new(Vec::new()).at(0), None);
    }
}
