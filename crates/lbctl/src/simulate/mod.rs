// SPDX-License-Identifier: Apache-2.0
//! `lbctl simulate`: what a script or method would have done with the traffic of a log.

mod arrival;
mod compare;
mod faults;
mod figures;
mod format;
mod picture;
mod progress;
mod queue;
mod report;
mod results;
mod run;
mod service;
mod source;
mod took;
mod waiting;
mod workers;

use std::rc::Rc;

use balance::rng::Rng;
use balance::words;
use config::HookKind;

use self::compare::{Answerer, Comparison, Served};
use self::faults::Fault;
use self::format::LineFormat;
use self::progress::Progress;
use self::results::Results;
use self::run::Simulation;
use self::service::Service;
use self::source::Logs;
use self::workers::Workers;
use crate::args::{From, SimulateArgs};
use crate::conf::{surroundings, text};
use crate::explain;
use crate::out::{Exit, Failure, Out, VerbResult, note};
use crate::world::setup::Setup;

/// Runs the verb.
pub fn run(out: &Out, args: &SimulateArgs) -> VerbResult {
    let setup = setup(args)?;
    setup.unknown.iter().for_each(|one| note(&format!("unknown without the server: {one}")));
    let service = Service::parse(&args.service).map_err(Failure::usage)?;
    let format = args.log_format.as_deref().map(LineFormat::parse).transpose().map_err(Failure::usage)?;
    let other = other(args)?;
    let faults = Rc::new(faults(args)?);
    let mut logs = Logs::new(&args.logs, format, Progress::new(out, &args.logs));
    let found = simulate(args, (setup, other), (&service, faults), &mut logs)?;
    let Some(results) = found else {
        if logs.lines == 0 && logs.unread.count == 0 {
            return Err(Failure { exit: Exit::No, text: "the log is empty".into() });
        }
        let first = logs.unread.first.join("\n  ");
        let hint = "expected common, combined, vhost_combined, JSON, or what --log-format says";
        return Err(Failure {
            exit: Exit::No,
            text: format!("no line of the log can be read: {hint}\n  {first}"),
        });
    };
    report::show(out, &results)?;
    if let Some(first) = results.odd_times.first.first() {
        note(&format!(
            "{} of {} lines have a time that cannot be used: it is drawn (--service); the first is {first}",
            results.odd_times.count, results.lines
        ));
    }
    if let Some(folder) = &args.svg {
        picture::write_svg(folder, &results).map_err(|error| named(folder, &error))?;
    }
    if let Some(file) = &args.html {
        std::fs::write(file, picture::html(&results)).map_err(|error| named(file, &error))?;
    }
    let all = [&results.failures, &results.failures_before];
    Ok(if all.iter().all(|one| one.given_up.is_empty()) { Exit::Done } else { Exit::No })
}

fn named(path: &std::path::Path, error: &std::io::Error) -> Failure {
    Failure::usage(format!("{}: {error}", path.display()))
}

fn setup(args: &SimulateArgs) -> Result<Setup, Failure> {
    let mut setup = explain::setup(&args.from)?;
    if let Some(method) = &args.method {
        let words = words::split(method).map_err(|error| Failure::usage(format!("--method: {error}")))?;
        for pool in &mut setup.config.pools {
            let set = pool.settings.set_directive("LuaBalancerMethod", &words);
            set.map_err(|error| Failure::usage(format!("--method '{method}': {error}")))?;
        }
    }
    let hooks = [HookKind::Translate, HookKind::Select].iter().any(|kind| setup.config.has_hooks(*kind));
    match (&args.pool, args.from.script.is_some() || hooks || setup.site.passes_any()) {
        (Some(pool), _) => setup.send_all_to(pool),
        (None, true) => {}
        (None, false) => match setup.config.pool_names().as_slice() {
            [one] => {
                let one = (*one).to_owned();
                setup.send_all_to(&one);
            }
            names => {
                let text = format!("which pool? Found {}: name one with --pool", names.join(", "));
                return Err(Failure::usage(text));
            }
        },
    }
    Ok(setup)
}

/// The setup that `--compare` names.
fn other(args: &SimulateArgs) -> Result<Option<Setup>, Failure> {
    let Some(script) = &args.compare else { return Ok(None) };
    let from = From { script: Some(script.clone()), ..args.from.clone() };
    explain::setup(&from).map(Some)
}

fn faults(args: &SimulateArgs) -> Result<Vec<Fault>, Failure> {
    let slow = args.slow.iter().map(|text| Fault::slow(text));
    let down = args.down.iter().map(|text| Fault::down(text));
    let add = args.add.iter().map(|text| Fault::add(text));
    slow.chain(down).chain(add).collect::<Result<_, _>>().map_err(Failure::usage)
}

/// Runs a log through. None: nothing could be read.
fn simulate(
    args: &SimulateArgs,
    (setup, other): (Setup, Option<Setup>),
    (service, faults): (&Service, Rc<Vec<Fault>>),
    logs: &mut Logs,
) -> Result<Option<Results>, Failure> {
    let rng = Rng::new(args.from.seed ^ SERVICE_SEED);
    let unread = |error: std::io::Error| Failure::usage(error.to_string());
    let Some(first) = logs.next().map_err(unread)? else { return Ok(None) };
    let begin = first.at;
    let mut one = Simulation::new(setup, faults.clone(), begin).map_err(Failure::usage)?;
    let mut other =
        other.map(|setup| Simulation::new(setup, faults, begin)).transpose().map_err(Failure::usage)?;
    vet(args, &one)?;
    let workers = workers(args)?;
    let backlog = backlog(args)?;
    one.workers = Workers::of(workers, backlog);
    other.iter_mut().for_each(|other| other.workers = Workers::of(workers, backlog));
    let mut compared = match &mut other {
        Some(other) => {
            (one.draws_apart, other.draws_apart) = (true, true);
            Some(Comparison::default())
        }
        None => args.against_log.then(Comparison::with_log),
    };
    one.draws_apart |= args.against_log;
    let (mut last, mut record, mut names_any) = (begin, first, false);
    loop {
        last = record.at.max(last);
        names_any |= record.member.is_some();
        let took = record.took.seconds.unwrap_or_else(|| service.draw(&rng));
        let chosen = one.arrive(&record, took);
        if let Some(compared) = &mut compared {
            let others = match &mut other {
                Some(other) => other.arrive(&record, took),
                None => Served::Now(Answerer { name: record.member.clone(), is_drawn: false }),
            };
            compared.put(&record.ask, chosen, others);
            compared.settle(one.take_late(), other.as_mut().map(Simulation::take_late));
        } else {
            one.take_late();
        }
        match logs.next().map_err(unread)? {
            Some(next) => record = next,
            None => break,
        }
    }
    one.finish();
    if let (Some(compared), Some(other)) = (&mut compared, &mut other) {
        other.finish();
        compared.settle(Vec::new(), Some(other.take_late()));
    }
    if let Some(compared) = &mut compared {
        compared.settle(one.take_late(), None);
    }
    logs.progress.end();
    let differs = compared.as_ref().is_some_and(|compared| compared.differences.differ > 0);
    if args.against_log && differs && !names_any {
        let text = "--against-log: no line names a member; expected LB_MEMBER in the log, for example \
                    --log-format '%h %t \"%r\" %D %{LB_MEMBER}e'";
        return Err(Failure::usage(text));
    }
    let (unread, odd_times, lines) = (logs.unread.clone(), logs.odd_times.clone(), logs.lines);
    Ok(Some(Results {
        failures: one.take_failures(),
        failures_before: other.as_mut().map(Simulation::take_failures).unwrap_or_default(),
        figures: one.figures,
        workers: one.workers.figures,
        unread,
        odd_times,
        lines,
        seconds: last - begin,
        begin,
        differences: compared.map(|compared| compared.differences),
    }))
}

/// Names of pools and members that there are not would change nothing, and nobody would see it.
fn vet(args: &SimulateArgs, simulation: &Simulation) -> Result<(), Failure> {
    let pools = simulation.world.memberships();
    let list = |names: Vec<String>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    if let Some(name) = &args.pool
        && !pools.iter().any(|pool| pool.name.eq_ignore_ascii_case(name))
    {
        let found = list(pools.iter().map(|pool| pool.name.to_string()).collect());
        return Err(Failure::usage(format!("--pool {name}: there is no such pool; expected one of {found}")));
    }
    let own = pools
        .iter()
        .flat_map(|pool| pool.members.iter().map(|member| (pool.name.to_string(), member.spec.name.clone())));
    let own: Vec<(String, String)> = own.collect();
    vet_additions(&simulation.faults, &own, &pools.iter().map(|pool| &*pool.name).collect::<Vec<_>>())?;
    match simulation.unknown_member(&own) {
        Some(name) => {
            let found = list(own.into_iter().map(|(pool, member)| format!("{pool}/{member}")).collect());
            Err(Failure::usage(format!("--slow, --down: there is no member {name}; expected one of {found}")))
        }
        None => Ok(()),
    }
}

/// Members that are added have a pool, and a name that is free there.
fn vet_additions(faults: &[Fault], own: &[(String, String)], pools: &[&str]) -> Result<(), Failure> {
    let mut taken = own.to_vec();
    for fault in faults {
        let Fault::Add(only, spec, _) = fault else { continue };
        let name = &spec.name;
        let meant =
            pools.iter().filter(|pool| only.as_ref().is_none_or(|only| pool.eq_ignore_ascii_case(only)));
        let meant: Vec<&&str> = meant.collect();
        if let (Some(only), true) = (only, meant.is_empty()) {
            let text =
                format!("--add {only}/{name}: there is no such pool; expected one of {}", pools.join(", "));
            return Err(Failure::usage(text));
        }
        for pool in meant {
            let member = ((*pool).to_owned(), name.clone());
            if taken.contains(&member) {
                return Err(Failure::usage(format!(
                    "--add {name}: pool {pool} already has a member named {name}"
                )));
            }
            taken.push(member);
        }
    }
    Ok(())
}

/// How many connections the kernel holds for httpd, by the configuration's word or by default.
fn backlog(args: &SimulateArgs) -> Result<u32, Failure> {
    const USUAL: u32 = 511;
    let Some(file) = &args.from.config else { return Ok(USUAL) };
    let text = text::read(file, &args.from.defines).map_err(Failure::usage)?;
    let told = surroundings::numbers(&text, &["ListenBacklog", "ListenBackLog"]);
    Ok(told.into_iter().max().unwrap_or(USUAL))
}

/// How many requests httpd serves at once: `--workers`, else the configuration's word, where it has
/// one. None: as many as there are.
fn workers(args: &SimulateArgs) -> Result<Option<u32>, Failure> {
    if let Some(workers) = args.workers {
        return Ok(Some(workers).filter(|workers| *workers > 0));
    }
    let Some(file) = &args.from.config else { return Ok(None) };
    let text = text::read(file, &args.from.defines).map_err(Failure::usage)?;
    let mut all = surroundings::numbers(&text, &["MaxRequestWorkers", "MaxClients"]);
    all.sort_unstable();
    all.dedup();
    if let [_, _, ..] = all.as_slice() {
        note(
            "which MaxRequestWorkers holds is httpd's to know: no request waits for a worker; --workers N says it",
        );
    }
    Ok(all.pop().filter(|_| all.is_empty()))
}

/// Keeps service times and picks apart.
const SERVICE_SEED: u64 = 0x7365_7276_6963_6573;
