# make run    three demo backends and httpd on 127.0.0.1:8080, in the foreground
# make demo   the same without hands: shows shares, a dead backend, a changed weight; fails when anything is not so
# make test   everything that CI runs
# The long ones, each bounded in time (docs/RELIABILITY.md): fuzz, soak, sanitize, miri (takes a nightly compiler).
# make bench  the module beside other servers, into docs/performance (about 20 minutes)
# The rest: build, install, uninstall, bench-quick, lint, loom, deps.

APXS       ?= $(firstword $(shell command -v apxs2 apxs 2>/dev/null) apxs)
CARGO      ?= cargo
SUDO       ?= $(shell [ "$$(id -u)" = 0 ] || echo sudo)
DESTDIR    ?=
LIBEXECDIR  = $(shell $(APXS) -q LIBEXECDIR)
SYSCONFDIR  = $(shell $(APXS) -q SYSCONFDIR)
LUADIR     ?= /usr/share/mod_lua_balancer/lua
TARGET     ?= $(or $(CARGO_TARGET_DIR),target)
MODULE      = $(TARGET)/release/libmod_lua_balancer.so

export LUA_BALANCER_LUADIR = $(LUADIR)

.PHONY: all deps deps-test build run demo test lint loom symbols install uninstall bench bench-quick fuzz soak sanitize miri clean

all: build

deps:
	@scripts/deps build

deps-test:
	@scripts/deps test

build: deps
	$(CARGO) build --release -p mod_lua_balancer

run: build
	@scripts/demo run "$(MODULE)"

demo: build
	@scripts/demo check "$(MODULE)"

test: deps-test
	@scripts/test

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	luacheck -q --config lua/.luacheckrc lua

loom:
	RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=$(TARGET)/loom $(CARGO) test -p table --profile tests --test loom

symbols: build
	@scripts/symbols "$(MODULE)"

install:
	@test -f "$(MODULE)" || { echo "run 'make build' first"; exit 1; }
	install -d "$(DESTDIR)$(LIBEXECDIR)" "$(DESTDIR)$(SYSCONFDIR)/mods-available" "$(DESTDIR)$(SYSCONFDIR)/conf-available" "$(DESTDIR)$(LUADIR)"
	install -m 644 "$(MODULE)" "$(DESTDIR)$(LIBEXECDIR)/mod_lua_balancer.so"
	sed 's|@LIBEXECDIR@|$(LIBEXECDIR)|' apache-conf/lua_balancer.load > "$(DESTDIR)$(SYSCONFDIR)/mods-available/lua_balancer.load"
	install -m 644 apache-conf/lua_balancer.conf "$(DESTDIR)$(SYSCONFDIR)/mods-available/lua_balancer.conf"
	install -m 644 apache-conf/example.conf "$(DESTDIR)$(SYSCONFDIR)/conf-available/lua_balancer-example.conf"
	install -m 644 lua/*.lua "$(DESTDIR)$(LUADIR)/"

uninstall:
	rm -f "$(DESTDIR)$(LIBEXECDIR)/mod_lua_balancer.so" \
	      "$(DESTDIR)$(SYSCONFDIR)/mods-available/lua_balancer.load" \
	      "$(DESTDIR)$(SYSCONFDIR)/mods-available/lua_balancer.conf" \
	      "$(DESTDIR)$(SYSCONFDIR)/conf-available/lua_balancer-example.conf"
	rm -rf "$(DESTDIR)$(LUADIR)"

bench: build
	@scripts/bench "$(MODULE)"

bench-quick: build
	@scripts/bench-quick "$(MODULE)"

fuzz:
	@scripts/fuzz

soak: build
	@scripts/soak "$(MODULE)"

sanitize: build
	@scripts/sanitize "$(MODULE)"

miri:
	@scripts/miri

clean:
	$(CARGO) clean
