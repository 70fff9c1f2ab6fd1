// SPDX-License-Identifier: Apache-2.0
//! Running sources: files are watched on one thread, all others are asked on another.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use balance::settings::{Discovery, SourcePlace};
use balance::url::MemberUrl;

use crate::consul::ConsulSource;
use crate::dns::DnsSource;
use crate::etcd::EtcdSource;
use crate::http::HttpSource;
use crate::kubernetes::KubernetesSource;
use crate::lua::{AskLua, LuaSource};
use crate::source::{MakeSource, Sighting};
use crate::watcher::{SourcePath, Watcher};
use crate::{Bell, ListingRules, asked};

/// A source that is to run.
pub enum SourcePlan {
    /// A file.
    File(SourcePath),
    /// A source that is asked.
    Asked(MakeSource),
}

impl SourcePlan {
    /// The plan of a directive; relative paths are below `root`. Here, each kind has its line.
    /// `misfit`: see [`ListingRules`]. `ask`: has functions of scripts called.
    pub fn of(
        settings: &Discovery,
        root: &Path,
        misfit: fn(&MemberUrl) -> Option<String>,
        ask: &AskLua,
    ) -> Self {
        let rules = ListingRules { skip_invalid: settings.skip_invalid, max: settings.max as usize, misfit };
        match &settings.source {
            SourcePlace::File(path) => {
                let settle = Duration::from_millis(settings.settle_ms);
                SourcePlan::File(SourcePath { path: root.join(path), rules, settle })
            }
            SourcePlace::Dns(place) => {
                let place = place.clone();
                SourcePlan::Asked(Box::new(move || Box::new(DnsSource::new(place, rules))))
            }
            SourcePlace::Etcd(place) => {
                let (place, root) = (place.clone(), root.to_owned());
                SourcePlan::Asked(Box::new(move || Box::new(EtcdSource::new(&place, rules, &root))))
            }
            SourcePlace::Http(place) => {
                let (place, root) = (place.clone(), root.to_owned());
                SourcePlan::Asked(Box::new(move || Box::new(HttpSource::new(place, rules, &root))))
            }
            SourcePlace::Consul(place) => {
                let (place, root) = (place.clone(), root.to_owned());
                SourcePlan::Asked(Box::new(move || Box::new(ConsulSource::new(place, rules, &root))))
            }
            SourcePlace::Kubernetes(place) => {
                let (place, root) = (place.clone(), root.to_owned());
                SourcePlan::Asked(Box::new(move || Box::new(KubernetesSource::new(place, rules, &root))))
            }
            SourcePlace::Lua(place) => {
                let (place, ask) = (place.clone(), ask.clone());
                SourcePlan::Asked(Box::new(move || Box::new(LuaSource::new(place, rules, ask))))
            }
        }
    }
}

/// The work of a thread.
pub type ThreadBody = Box<dyn FnOnce() + Send>;

/// Running sources. They end when it is dropped.
pub struct Lookout {
    bell: Bell,
    told: Receiver<Sighting>,
}

impl Lookout {
    /// Has threads look, as many as the kinds of these plans need. `wake` is called after each
    /// sighting; `spawn` starts a thread of that name, if there is one to be had.
    ///
    /// # Errors
    /// There is no descriptor left, or no thread.
    pub fn start(
        plans: Vec<SourcePlan>,
        wake: impl Fn() + Clone + Send + 'static,
        spawn: &mut dyn FnMut(&str, ThreadBody) -> bool,
    ) -> std::io::Result<Self> {
        let bell = Bell::new()?;
        let (send, told) = channel();
        let search = Lookout { bell: bell.clone(), told };
        let (mut files, mut others) = (Vec::new(), Vec::new());
        for (at, plan) in plans.into_iter().enumerate() {
            match plan {
                SourcePlan::File(file) => files.push((at, file)),
                SourcePlan::Asked(source) => others.push((at, source)),
            }
        }
        let mut jobs: Vec<(&str, ThreadBody)> = Vec::new();
        if !files.is_empty() {
            let (bell, mut tell) = (bell.clone(), teller(send.clone(), wake.clone()));
            jobs.push(("lua-balancer-di", Box::new(move || Watcher::new(files, bell).run(&mut tell))));
        }
        if !others.is_empty() {
            let tell = teller(send, wake);
            jobs.push(("lua-balancer-as", Box::new(move || asked::run(others, &bell, &tell))));
        }
        match jobs.into_iter().all(|(name, job)| spawn(name, job)) {
            true => Ok(search),
            false => Err(std::io::Error::other("there is no thread left")),
        }
    }

    /// The sightings since the last time.
    pub fn told(&self) -> impl Iterator<Item = Sighting> + '_ {
        self.told.try_iter()
    }

    /// Has all sources looked at now.
    pub fn refresh(&self) {
        self.bell.refresh();
    }
}

impl Drop for Lookout {
    fn drop(&mut self) {
        self.bell.end();
    }
}

/// Nobody hears it any more when the lead is another's.
fn teller(send: Sender<Sighting>, wake: impl Fn()) -> impl Fn(Sighting) {
    move |sighting| {
        let _ = send.send(sighting);
        wake();
    }
}
