// SPDX-License-Identifier: Apache-2.0
//! Vetting a script: it is read, compiled and started in a state of its own, away from requests.
//! The module does it in a process of its own, and what was found travels as bytes, see
//! [`crate::report`].

use std::cell::RefCell;
use std::collections::HashSet;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use balance::api::{Balancer, ChangeError};

use crate::decision::definition::Definition;
use crate::error::{ErrorKind, ScriptError};
use crate::host::{NoRequest, Server};
use crate::source::bundle::{Bundle, Source};
use crate::source::library::{Entry, Library, Origin, ScriptId};
use crate::source::loader::Recorder;
use crate::source::stamp::stamp_of;
use crate::state::held::LuaState;
use crate::vetting::verdict::Verdict;

/// A version found good.
#[derive(Debug, Clone, PartialEq)]
pub struct GoodVersion {
    /// The version, for [`Library::install`].
    pub bundle: Bundle,
    /// Pools that its top level defines; of a shadow none, since nothing comes of it.
    pub definitions: Vec<Definition>,
    /// Number of the first version's definitions: see
    /// [`Entry::definition`](crate::source::library::Entry::definition).
    source: u64,
}

impl GoodVersion {
    /// Brings the pools into the running table. To be done before [`Library::install`], with the
    /// same version.
    pub fn apply(&self, balancer: &dyn Balancer, version: u64) -> Result<(), ChangeError> {
        for definition in &self.definitions {
            let Definition { name, settings, members } = definition.clone();
            balancer.define(&name, settings, members, self.source | version)?;
        }
        Ok(())
    }
}

/// How often a script is read again when it changes while being read.
const ATTEMPTS: u32 = 3;

/// Reads a script and its modules from disk, compiles them, runs the top level under the limits and
/// looks for the functions that the configuration names. The running table is not changed, and the
/// library is not either.
pub fn vet(
    library: &Arc<Library>,
    id: ScriptId,
    server: Rc<dyn Server>,
    balancer: Rc<dyn Balancer>,
) -> Verdict {
    for _ in 0..ATTEMPTS {
        let recorder = Rc::new(RefCell::new(Recorder::for_vetting(server.clone())));
        let outcome = attempt(library, id, &recorder, server.clone(), balancer.clone());
        let recorder = recorder.borrow();
        let Some(stamp) = recorder.stamp() else { continue };
        let outcome = outcome.map(|(mut bundle, definitions)| {
            bundle.stamp = stamp;
            (bundle, definitions)
        });
        return Verdict { watch: recorder.watch(), stamp: Some(stamp), outcome };
    }
    let label = library.label(id);
    let error =
        ScriptError::new(ErrorKind::Load, format!("{label}: changed while being read, {ATTEMPTS} times"));
    Verdict { watch: Vec::new(), stamp: None, outcome: Err(error) }
}

/// Vets a script in this process and accepts the verdict. For tests and tools: a top level that
/// hangs hangs the caller.
pub fn judge(
    library: &Arc<Library>,
    id: ScriptId,
    server: Rc<dyn Server>,
    balancer: Rc<dyn Balancer>,
) -> Result<GoodVersion, ScriptError> {
    let verdict = vet(library, id, server, balancer);
    library.accept(id, verdict)
}

fn attempt(
    library: &Arc<Library>,
    id: ScriptId,
    recorder: &Rc<RefCell<Recorder>>,
    server: Rc<dyn Server>,
    balancer: Rc<dyn Balancer>,
) -> Result<(Bundle, Vec<Definition>), ScriptError> {
    let entry = library.entry(id)?;
    let main = recorder.borrow_mut().main(entry)?;
    let state = LuaState::for_judging(server, Rc::new(NoRequest), balancer, library.clone())?;
    let _alarm = crate::vetting::alarm::watch(&state.lua);
    state.load_candidate(id, &main, recorder.clone())?;
    recorder.borrow_mut().foresee(&main, entry)?;
    for module in &recorder.borrow().modules {
        state.compile(&module.path.to_string_lossy(), &module.text)?;
    }
    let recorder = recorder.borrow();
    let watch = recorder.watch();
    let bundle = Bundle { stamp: stamp_of(&[]), main, modules: recorder.modules.clone(), watch };
    Ok((bundle, state.take_definitions()))
}

impl Library {
    /// Takes a verdict that came from elsewhere. The library remembers it for these files, so that
    /// [`Library::changed`] is silent until they change again.
    ///
    /// # Errors
    /// What the verdict says is wrong, or what is wrong with the verdict.
    pub fn accept(&self, id: ScriptId, verdict: Verdict) -> Result<GoodVersion, ScriptError> {
        let entry = self.entry(id)?;
        let Verdict { watch, stamp, outcome } = verdict;
        let checked = outcome.and_then(|(bundle, definitions)| {
            self.check(entry, &bundle.main, &definitions)?;
            let definitions = if entry.shadow { Vec::new() } else { definitions };
            Ok(GoodVersion { bundle, definitions, source: entry.definition(0) })
        });
        if let Some(stamp) = stamp {
            self.judged(id, watch, stamp, checked.as_ref().err().cloned());
        }
        checked
    }

    /// No verdict came: the version is refused as the files are now. `seen` are files that vetting
    /// has looked at.
    pub fn refuse(&self, id: ScriptId, seen: Vec<PathBuf>, error: ScriptError) {
        let Ok(entry) = self.entry(id) else { return };
        let mut watch = self.watched(entry);
        let mut known: HashSet<PathBuf> = watch.iter().cloned().collect();
        watch.extend(seen.into_iter().filter(|path| known.insert(path.clone())));
        let stamp = stamp_of(&watch);
        self.judged(id, watch, stamp, Some(error));
    }

    /// Checks the promises of `lb.define_pool` again.
    fn check(&self, entry: &Entry, main: &Source, definitions: &[Definition]) -> Result<(), ScriptError> {
        let wrong =
            |text: String| Err(ScriptError::new(ErrorKind::Load, format!("{}: {text}", entry.label())));
        let expected = match &entry.origin {
            Origin::File { path, .. } => path.clone(),
            Origin::Inline { name, .. } => PathBuf::from(name),
        };
        if main.path != expected {
            return wrong("the answer of the vetting process is about another script".into());
        }
        let mut pools = HashSet::new();
        for Definition { name, members, .. } in definitions {
            if self.configured.contains(name) || !pools.insert(name) {
                return wrong(format!("pool {name} is defined already"));
            }
            let mut names = HashSet::new();
            if let Some(twin) = members.iter().find(|member| !names.insert(&member.name)) {
                return wrong(format!("pool {name}: there are two members named {}", twin.name));
            }
        }
        Ok(())
    }
}
