// SPDX-License-Identifier: Apache-2.0
//! Builds Lua from the source that comes with the crate `lua-src`, with a few changes. Each
//! replaces a text that has to be there just once, so that another version of the source fails the
//! build instead of losing a change.

use std::panic::{self, UnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::{env, fs};

const FOLDER: &str = "lua-5.4.9";
/// Where the source is, if not where the crate is.
const OWN_SOURCE: &str = "LUA_BALANCER_LUA_SOURCE";

struct Change {
    file: &'static str,
    old: &'static str,
    new: &'static str,
}

const CHANGES: [Change; 13] = [
    // Tables with weak keys whose entries name each other in a chain are gone through again for
    // each link. After some rounds all that they hold counts as reached, which ends in a time that
    // grows with their size.
    Change {
        file: "lgc.c",
        old: "  int dir = 0;\n  do {\n",
        new: "  int dir = 0;\n  int rounds = 0;\n  do {\n",
    },
    Change {
        file: "lgc.c",
        old: "      if (traverseephemeron(g, h, dir)) {  /* marked some value? */\n",
        new: "      if (rounds >= 10) {\n        traversestrongtable(g, h);\n        propagateall(g);\n        changed = 1;\n      }\n      \
              else if (traverseephemeron(g, h, dir)) {  /* marked some value? */\n",
    },
    Change {
        file: "lgc.c",
        old: "    dir = !dir;  /* invert direction next time */\n",
        new: "    dir = !dir;  /* invert direction next time */\n    rounds++;\n",
    },
    // Comparing strings piece by piece between their NULs takes ten nanoseconds a byte. Byte by
    // byte it is the same order in the locale "C", and no other is ever set.
    Change {
        file: "lvm.c",
        old: "  size_t rl2 = tsslen(ts2);\n  for (;;) {  /* for each segment */\n",
        new: "  size_t rl2 = tsslen(ts2);\n  {\n    int bytes = memcmp(s1, s2, rl1 < rl2 ? rl1 : rl2);\n    \
              return (bytes != 0) ? bytes : (rl1 > rl2) - (rl1 < rl2);\n  }\n  for (;;) {  /* for each segment */\n",
    },
    // A table that is its own `__call` is called with one argument more each time, until the stack
    // is full, and the arguments are moved each time. Later versions of Lua end such a chain as
    // well.
    Change {
        file: "ldo.c",
        old: "    luaG_callerror(L, s2v(func));  /* nothing to call */\n  for (p = L->top.p; p > func; p--)",
        new: "    luaG_callerror(L, s2v(func));  /* nothing to call */\n  if (l_unlikely(!ttisfunction(tm))) {\n    \
              const TValue *next = tm;\n    int links = 0;\n    while (!ttisnil(next) && !ttisfunction(next)) {\n      \
              if (++links > 15)\n        luaG_runerror(L, \"'__call' chain too long\");\n      \
              next = luaT_gettmbyobj(L, next, TM_CALL);\n    }\n  }\n  for (p = L->top.p; p > func; p--)",
    },
    // Any argument that is to be a number may be a text of megabytes, of spaces say, and there may
    // be many. None of more than 4 KiB is a numeral.
    Change {
        file: "lvm.c",
        old: "    TString *st = tsvalue(obj);\n    return (luaO_str2num(",
        new: "    TString *st = tsvalue(obj);\n    return tsslen(st) <= 4096 && (luaO_str2num(",
    },
    Change {
        file: "lbaselib.c",
        old: "      if (s != NULL && lua_stringtonumber(L, s) == l + 1)",
        new: "      if (s != NULL && l <= 4096 && lua_stringtonumber(L, s) == l + 1)",
    },
    // Numbers have the place in a table that their value says, and strings a hash whose seed
    // matters little to some pairs: with chosen keys all of a table are in one chain, and making it
    // larger takes a time that grows with the square of their number, in one step. A secret of the
    // process decides, as nobody can foresee it.
    Change {
        file: "lstring.h",
        old: "LUAI_FUNC unsigned int luaS_hash (const char *str, size_t l, unsigned int seed);\n",
        new: HASH_DECLARED,
    },
    Change {
        file: "lstring.c",
        old: "unsigned int luaS_hash (const char *str, size_t l, unsigned int seed) {\n  unsigned int h = seed ^ cast_uint(l);\n  \
              for (; l > 0; l--)\n    h ^= ((h<<5) + (h>>2) + cast_byte(str[l - 1]));\n  return h;\n}\n",
        new: HASH,
    },
    Change {
        file: "ltable.c",
        old: "  lua_Unsigned ui = l_castS2U(i);\n  if (ui <= cast_uint(INT_MAX))\n    return hashmod(t, cast_int(ui));\n  else\n    \
              return hashmod(t, ui);\n",
        new: "  return hashpow2(t, luaS_scatter((unsigned long long)i));\n",
    },
    Change { file: "ltable.c", old: "#if !defined(l_hashfloat)\n", new: "#if 0\n" },
    Change {
        file: "ltable.c",
        old: "      return hashmod(t, l_hashfloat(n));\n",
        new: "      unsigned long long bits = 0;\n      memcpy(&bits, &n, sizeof(n));\n      return hashpow2(t, luaS_scatter(bits));\n",
    },
    Change {
        file: "ltable.c",
        old: "#define hashpointer(t,p)\thashmod(t, point2uint(p))\n",
        new: "#include <string.h>\n#define hashpointer(t,p)\thashpow2(t, luaS_scatter((unsigned long long)(size_t)(p)))\n",
    },
];

/// Two factors whose product is folded: what one bit of either changes, nobody can say who does not
/// know the other.
const HASH_DECLARED: &str = "\
LUAI_FUNC unsigned int luaS_hash (const char *str, size_t l, unsigned int seed);
LUAI_FUNC unsigned long long luaS_secret[3];
static inline unsigned long long luaS_fold (unsigned long long a, unsigned long long b) {
#if defined(__SIZEOF_INT128__)
  unsigned __int128 product = (unsigned __int128)a * b;
  return (unsigned long long)product ^ (unsigned long long)(product >> 64);
#else
  unsigned long long low = (a & 0xffffffffu) * (b & 0xffffffffu), high = (a >> 32) * (b >> 32);
  unsigned long long one = (a >> 32) * (b & 0xffffffffu), other = (a & 0xffffffffu) * (b >> 32);
  unsigned long long middle = (low >> 32) + (one & 0xffffffffu) + (other & 0xffffffffu);
  return ((middle << 32) | (low & 0xffffffffu)) ^ (high + (one >> 32) + (other >> 32) + (middle >> 32));
#endif
}
static inline unsigned int luaS_scatter (unsigned long long key) {
  return (unsigned int)luaS_fold(key ^ luaS_secret[0], luaS_secret[1]);
}
";

/// Eight bytes at a time; the last ones are read together with some of those before them.
const HASH: &str = "\
#include <sys/random.h>
#include <time.h>

unsigned long long luaS_secret[3];

__attribute__((constructor)) static void make_secret (void) {
  if (getrandom(luaS_secret, sizeof(luaS_secret), GRND_NONBLOCK) != (ssize_t)sizeof(luaS_secret)) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    luaS_secret[0] = (size_t)&now ^ ((unsigned long long)now.tv_nsec << 32);
    luaS_secret[1] = luaS_fold(luaS_secret[0], (size_t)&luaS_secret ^ 0x9fb21c651e98df25u);
    luaS_secret[2] = luaS_fold(luaS_secret[1], (unsigned long long)now.tv_sec ^ 0xe7037ed1a0b428dbu);
  }
  luaS_secret[1] |= 1;
  luaS_secret[2] |= 1;
}

static unsigned long long some_bytes (const char *str, size_t l) {
  unsigned int first, last;
  if (l >= 4) {
    memcpy(&first, str, 4);
    memcpy(&last, str + l - 4, 4);
    return ((unsigned long long)first << 32) | last;
  }
  return ((unsigned long long)cast_byte(str[0]) << 16) | (cast_byte(str[l / 2]) << 8) | cast_byte(str[l - 1]);
}

unsigned int luaS_hash (const char *str, size_t l, unsigned int seed) {
  unsigned long long word, h = luaS_secret[0] ^ seed ^ ((unsigned long long)l << 32);
  for (; l >= 8; l -= 8, str += 8) {
    memcpy(&word, str, 8);
    h = luaS_fold(h ^ word, luaS_secret[1]) ^ luaS_secret[2];
  }
  if (l > 0)
    h ^= some_bytes(str, l);
  h = luaS_fold(h, luaS_secret[2]);
  return (unsigned int)(h ^ (h >> 32));
}
";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed={OWN_SOURCE}");
    println!("cargo:rustc-env=LUA_RELEASE={}", FOLDER.trim_start_matches("lua-"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("OUT_DIR"));
    let source = out.join("source");
    copy(&source_folder(), &source);
    for change in &CHANGES {
        apply(&source, change);
    }
    let mut build = cc::Build::new();
    build.include(&source).warnings(false).flag_if_supported("-fno-common");
    build.define("LUA_USE_LINUX", None).define("LUA_COMPAT_5_3", None);
    if env::var("OPT_LEVEL").as_deref() == Ok("0") {
        // As with other dependencies in a build for debugging: unoptimised, limits of time are met
        // by honest scripts.
        build.opt_level(2);
    }
    if env::var("PROFILE").as_deref() == Ok("debug") {
        build.define("LUA_USE_APICHECK", None);
    }
    for file in files(&source).filter(|file| file.extension().is_some_and(|end| end == "c")) {
        build.file(file);
    }
    build.cargo_metadata(false).out_dir(out.join("lib")).compile("lua5.4");
    println!("cargo:rustc-link-search=native={}", out.join("lib").display());
    // As a whole, so that it does not matter whether what uses it comes before it or after it.
    println!("cargo:rustc-link-lib=static:+whole-archive=lua5.4");
}

fn files(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let found = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = found.flatten().map(|entry| entry.path()).collect();
    files.sort();
    files.into_iter()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder for the source");
    for file in files(from) {
        let name = file.file_name().expect("a name");
        let text = fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        fs::write(to.join(name), text).expect("a copy of the source");
    }
}

fn apply(folder: &Path, change: &Change) {
    let file = folder.join(change.file);
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let found = text.matches(change.old).count();
    assert_eq!(found, 1, "{}: not the text that is to be changed:\n{}", change.file, change.old);
    fs::write(&file, text.replacen(change.old, change.new, 1)).expect("the changed source");
}

/// The folder in the crate `lua-src`. The crate does not say where it is, but panics for a system
/// that it does not know, in a file of its own.
fn source_folder() -> PathBuf {
    if let Some(folder) = env::var_os(OWN_SOURCE) {
        return folder.into();
    }
    let file = place_of_panic(|| drop(lua_src::Build::new().target("none").build(lua_src::Lua54)));
    // A file below the workspace is named from there.
    let own = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("CARGO_MANIFEST_DIR"));
    let found = own.ancestors().map(|folder| folder.join(&file)).find_map(|file| {
        let folder = file.parent()?.parent()?.join(FOLDER);
        folder.is_dir().then_some(folder)
    });
    found.unwrap_or_else(|| panic!("no {FOLDER} beside {file}: name the folder in {OWN_SOURCE}"))
}

fn place_of_panic(panics: impl FnOnce() + UnwindSafe) -> String {
    let place = Arc::new(Mutex::new(String::new()));
    let own = place.clone();
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let file = info.location().map(|location| location.file().to_owned());
        *own.lock().expect("one thread") = file.unwrap_or_default();
    }));
    panic::catch_unwind(panics).ok();
    panic::set_hook(before);
    let place = place.lock().expect("one thread");
    place.clone()
}
