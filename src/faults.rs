//! Panics on demand, for tests that show what one costs. Only builds with the feature `faults` have them; in all others both
//! functions are empty.

/// Panics while the file that the variable `LUA_BALANCER_FAULTS` names holds this word.
#[cfg(feature = "faults")]
pub fn point(name: &str) {
    assert!(!is_told(name), "fault {name}");
}

/// As [`point`], once in a process until the file does not hold the word any more: for what runs over and over.
#[cfg(feature = "faults")]
pub fn once(name: &'static str) {
    use std::sync::Mutex;
    static DONE: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());
    let mut done = DONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let before = done.contains(&name);
    match is_told(name) {
        false => done.retain(|other| *other != name),
        true if before => {}
        true => {
            done.push(name);
            drop(done);
            panic!("fault {name}");
        }
    }
}

#[cfg(feature = "faults")]
fn is_told(name: &str) -> bool {
    let file = std::env::var_os("LUA_BALANCER_FAULTS").unwrap_or_default();
    std::fs::read_to_string(file).is_ok_and(|text| text.split_whitespace().any(|word| word == name))
}

/// Nothing, in a build without faults.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub fn point(_: &str) {}

/// Nothing, in a build without faults.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub fn once(_: &'static str) {}
