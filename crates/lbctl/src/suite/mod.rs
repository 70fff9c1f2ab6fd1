// SPDX-License-Identifier: Apache-2.0
//! `lbctl test`: cases of scripts, run without a server.

mod api;
mod background;
mod bytecode;
mod clock;
mod copies;
mod coverage;
mod described;
mod report;
mod runs;
mod stage;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mlua::Lua;

use self::clock::CaseClock;
use self::copies::Copies;
use self::coverage::Coverage;
use self::runs::{FileRun, Runs};
use self::stage::Stage;
use crate::args::TestArgs;
use crate::files;
use crate::out::{Exit, Failure, Out, VerbResult};

/// Runs the verb.
pub fn run(out: &Out, args: &TestArgs) -> VerbResult {
    if !args.watch {
        return once(out, args);
    }
    loop {
        let seen = stamps(&args.paths);
        match once(out, args) {
            Ok(_) => {}
            Err(failure) => out.fail(&failure),
        }
        out.finish()?;
        if out.is_json() {
            crate::out::note("watching; Ctrl-C ends it");
        } else {
            out.line("watching; Ctrl-C ends it")?;
        }
        while stamps(&args.paths) == seen {
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// How often `--watch` looks at files.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// How often the clock of the running case is looked at.
const LOOK_AT_CLOCK: Duration = Duration::from_millis(5);

/// Runs everything on a thread of its own: a function of C that never ends cannot be stopped, only
/// left behind.
fn once(out: &Out, args: &TestArgs) -> VerbResult {
    let clock = Arc::new(CaseClock::default());
    let (own, printer, wanted) = (clock.clone(), out.clone(), args.clone());
    let worker = std::thread::spawn(move || whole_run(&printer, &wanted, &own));
    while !worker.is_finished() {
        std::thread::sleep(LOOK_AT_CLOCK);
        if let Some(name) = clock.stuck() {
            let text = format!("the case '{name}' is stuck in a function of C: the run ends here");
            return Err(Failure { exit: Exit::No, text });
        }
    }
    let broken = |_| Err(Failure::usage("internal error: the run of the tests broke off"));
    worker.join().unwrap_or_else(broken)
}

fn whole_run(out: &Out, args: &TestArgs, clock: &Arc<CaseClock>) -> VerbResult {
    let files = test_files(&args.paths)?;
    let covers = args.coverage.is_some() || args.fail_under.is_some();
    let mut coverage = covers.then(Coverage::default);
    let mut runs = Vec::new();
    for file in &files {
        runs.push(run_file(file, args.filter.clone(), coverage.as_mut(), clock));
    }
    let runs = Runs { files: runs, coverage };
    report::show(out, &runs)?;
    if let Some(path) = &args.junit {
        write(path, &report::junit(&runs))?;
    }
    let mut exit = if runs.count().1 > 0 { Exit::No } else { Exit::Done };
    if let Some(coverage) = &runs.coverage {
        if let Some(Some(path)) = &args.coverage {
            write(path, &coverage.lcov())?;
        }
        if let Some(least) = args.fail_under.filter(|least| coverage.percent() < f64::from(*least)) {
            let percent = coverage.percent();
            crate::out::note(&format!("{percent:.1} % of the lines ran, expected {least} % or more"));
            exit = Exit::No;
        }
    }
    Ok(exit)
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}

fn test_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            gather(path, &mut found);
        } else if path.is_file() {
            found.push(path.clone());
        } else {
            return Err(Failure::usage(format!("{}: there is no such file or folder", path.display())));
        }
    }
    if found.is_empty() {
        return Err(Failure::usage("there are no tests: expected files named *_test.lua"));
    }
    Ok(found)
}

fn gather(folder: &Path, into: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_dir() && !path.is_symlink() && !name.starts_with('.') && name != "target" {
            gather(&path, into);
        } else if name.ends_with("_test.lua") {
            into.push(path);
        }
    }
}

/// Every Lua file and configuration below, with its time.
fn stamps(paths: &[PathBuf]) -> BTreeMap<PathBuf, Option<SystemTime>> {
    let mut all = BTreeMap::new();
    let mut left: Vec<PathBuf> = paths.to_vec();
    while let Some(path) = left.pop() {
        if path.is_dir() && !path.is_symlink() {
            left.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        } else if path.extension().is_some_and(|ending| ending == "lua" || ending == "conf") {
            let time = fs::metadata(&path).and_then(|about| about.modified()).ok();
            all.insert(path, time);
        }
    }
    all
}

fn run_file(
    file: &Path,
    filter: Option<String>,
    coverage: Option<&mut Coverage>,
    clock: &Arc<CaseClock>,
) -> FileRun {
    let name = file.display().to_string();
    let name = name.strip_prefix("./").unwrap_or(&name).to_owned();
    let copies = Rc::new(Copies::default());
    let see = coverage.as_ref().map(|coverage| coverage.see(&copies));
    let whole = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let stage = Rc::new(Stage::new((whole, clock.clone()), filter, see, copies));
    let error = execute(&stage).err();
    if let Some(coverage) = coverage {
        stage.scripts.borrow().iter().for_each(|path| coverage.add(path));
        coverage.add_modules();
    }
    let cases = stage.cases.borrow().clone();
    FileRun { name, cases, error }
}

fn execute(stage: &Rc<Stage>) -> Result<(), String> {
    let text = files::bytes(&stage.file)?;
    let lua = Lua::new();
    let done = prepare(&lua, stage).and_then(|()| {
        let name = format!("@{}", stage.file.display());
        lua.load(text).set_name(name).exec()
    });
    done.map_err(|error| stage.copies.named(&told(&error.to_string(), &stage.file)))
}

/// An error of the file itself, with its line.
fn told(error: &str, file: &Path) -> String {
    let (words, trace) = error.split_once("\nstack traceback:").unwrap_or((error, ""));
    let words = ["runtime error: ", "syntax error: "].iter().find_map(|kind| words.strip_prefix(kind));
    let words = words.unwrap_or(error);
    let place = format!("{}:", file.display());
    if words.contains(&place) {
        return words.replacen(&place, "line ", 1);
    }
    let line = trace.find(&place).and_then(|at| trace[at + place.len()..].split(':').next());
    line.map_or_else(|| words.to_owned(), |line| format!("line {line}: {words}"))
}

/// `require "lb.test"`, modules beside the test, and the limit of time.
fn prepare(lua: &Lua, stage: &Rc<Stage>) -> mlua::Result<()> {
    // A test may keep as much as it likes, within a machine's memory.
    const MOST_MEMORY: usize = 1 << 30;
    lua.set_memory_limit(MOST_MEMORY)?;
    let module = api::module(lua, stage)?;
    let package: mlua::Table = lua.globals().get("package")?;
    let folder = stage.file.parent().unwrap_or(Path::new("."));
    package.set("path", format!("{}/?.lua", folder.display()))?;
    let loaded: mlua::Table = package.get("loaded")?;
    loaded.set("lb.test", module)?;
    api::limit_time(lua, stage, api::STEPS)
}
