//! The verdict on a changed script: it is read, compiled and started in a state of its own, away from requests.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use balance::api::{Balancer, ChangeError};

use crate::bundle::Bundle;
use crate::context::Definition;
use crate::error::{ErrorKind, ScriptError};
use crate::host::{NoRequest, Server};
use crate::library::{Library, ScriptId};
use crate::loader::Recorder;
use crate::source::stamp_of;
use crate::state::State;

/// A version found good.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// What to give to [`Library::install`].
    pub bundle: Bundle,
    /// Pools that its top level defines.
    pub definitions: Vec<Definition>,
    /// Number of the first version's definitions: see [`Entry::definition`](crate::library::Entry::definition).
    source: u64,
}

impl Candidate {
    /// Brings the pools into the running table. To be done before [`Library::install`], with the same version.
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

/// Reads a script and its modules from disk, compiles them, runs the top level under the limits and looks for the functions
/// that the configuration names. The running table is not changed. The library remembers the verdict on these files, so
/// that [`Library::changed`] is silent until they change again.
pub fn judge(
    library: &Arc<Library>,
    id: ScriptId,
    server: Rc<dyn Server>,
    balancer: Rc<dyn Balancer>,
) -> Result<Candidate, ScriptError> {
    for _ in 0..ATTEMPTS {
        let recorder = Rc::new(RefCell::new(Recorder::default()));
        let verdict = attempt(library, id, &recorder, server.clone(), balancer.clone());
        let recorder = recorder.borrow();
        let Some(stamp) = recorder.stamp() else { continue };
        library.judged(id, recorder.watch(), stamp, verdict.as_ref().err().cloned());
        return verdict.map(|mut candidate| {
            candidate.bundle.stamp = stamp;
            candidate
        });
    }
    let label = library.label(id);
    Err(ScriptError::new(ErrorKind::Load, format!("{label}: changed while being read, {ATTEMPTS} times")))
}

fn attempt(
    library: &Arc<Library>,
    id: ScriptId,
    recorder: &Rc<RefCell<Recorder>>,
    server: Rc<dyn Server>,
    balancer: Rc<dyn Balancer>,
) -> Result<Candidate, ScriptError> {
    let entry = library.entry(id)?;
    let main = recorder.borrow_mut().main(entry)?;
    let state = State::for_judging(server, Rc::new(NoRequest), balancer, library.clone())?;
    state.load_candidate(id, &main, recorder.clone())?;
    recorder.borrow_mut().foresee(&main, entry)?;
    for module in &recorder.borrow().modules {
        state.compile(&module.path.to_string_lossy(), &module.text)?;
    }
    let recorder = recorder.borrow();
    let watch = recorder.watch();
    let bundle = Bundle { stamp: stamp_of(&[]), main, modules: recorder.modules.clone(), watch };
    Ok(Candidate { bundle, definitions: state.take_definitions(), source: entry.definition(0) })
}

impl Library {
    /// Compiles a script and the modules that it names, without running anything: for `configtest`.
    pub fn compile(self: &Arc<Self>, id: ScriptId, server: Rc<dyn Server>) -> Result<(), ScriptError> {
        let entry = self.entry(id)?;
        let mut recorder = Recorder::default();
        let main = recorder.main(entry)?;
        recorder.foresee(&main, entry)?;
        let state = State::for_judging(server, Rc::new(NoRequest), Rc::new(NoBalancer), self.clone())?;
        state.compile(&entry.label(), &main.text)?;
        recorder
            .modules
            .iter()
            .try_for_each(|module| state.compile(&module.path.to_string_lossy(), &module.text))
    }
}

pub(crate) use crate::host::NoBalancer;
