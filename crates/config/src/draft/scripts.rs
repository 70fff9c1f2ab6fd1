// SPDX-License-Identifier: Apache-2.0
//! Functions that directives name.

use super::state::{At, Draft, Source, Use};
use crate::statement::{Callee, HookKind};
use crate::surroundings::{Surroundings, script_file};

impl Draft {
    /// Notes a use of a function. `name`: what it is registered as, if it is.
    pub(super) fn add_use(
        &mut self,
        callee: Callee,
        name: String,
        at: &At<'_, '_>,
        world: &dyn Surroundings,
    ) -> Result<usize, String> {
        let source = match callee {
            Callee::File { path, function } => Source::File { path: script_file(world, &path)?, function },
            Callee::Registered(name) => Source::Registered(name),
            // As a file looks for modules in its own folder first.
            Callee::Inline(code) => {
                let beside = world.under_root("?.lua").ok_or("there is no ServerRoot")?;
                Source::Inline { code, name, beside }
            }
        };
        self.uses.push(Use {
            source,
            directive: at.directive.name(),
            place: at.place.clone(),
            server: at.server,
            share: None,
        });
        Ok(self.uses.len() - 1)
    }

    pub(super) fn hook(
        &mut self,
        kind: HookKind,
        callee: Callee,
        at: &mut At<'_, '_>,
        world: &dyn Surroundings,
    ) -> Result<(), String> {
        let number = self.add_use(callee, String::new(), at, world)?;
        self.add_hook(kind, number, at)
    }

    fn add_hook(&mut self, kind: HookKind, number_of_use: usize, at: &mut At<'_, '_>) -> Result<(), String> {
        let list = at.section.hooks_mut(kind);
        *list = Some(self.longer(*list, number_of_use)?);
        if !self.kinds.contains(&kind) {
            self.kinds.push(kind);
        }
        Ok(())
    }

    pub(super) fn shadow(
        &mut self,
        callee: Callee,
        share: u32,
        at: &mut At<'_, '_>,
        world: &dyn Surroundings,
    ) -> Result<(), String> {
        let number = self.add_use(callee, String::new(), at, world)?;
        if let Some(one) = self.uses.get_mut(number) {
            one.share = Some(share);
        }
        self.add_hook(HookKind::Shadow, number, at)
    }

    pub(super) fn register(
        &mut self,
        name: String,
        callee: Callee,
        at: &At<'_, '_>,
        world: &dyn Surroundings,
    ) -> Result<(), String> {
        if self.server(at).registered.iter().any(|(known, _)| *known == name) {
            return Err(format!("{name} is registered already"));
        }
        let number = self.add_use(callee, name.clone(), at, world)?;
        self.server(at).registered.push((name, number));
        Ok(())
    }

    pub(super) fn package_path(
        &mut self,
        parts: &[String],
        at: &At<'_, '_>,
        world: &dyn Surroundings,
    ) -> Result<(), String> {
        for part in parts {
            let full = world.under_root(part).ok_or_else(|| format!("'{part}' is not a path"))?;
            self.server(at).package_path.push(full);
        }
        Ok(())
    }
}
