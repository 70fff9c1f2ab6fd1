# SPDX-License-Identifier: Apache-2.0
# make run    three demo backends and httpd on 127.0.0.1:8080, in the foreground
# make demo   the same without hands: shares, a dead backend, a changed weight; fails when not so
# make test   everything that CI runs
# make test-page  the page in a real Chromium; CI runs it too
# make test-api  the API held against its description; CI runs it too
# make test-deb  the packages, from install to purge, in a fresh Debian; CI runs it too (root)
# make test-image  the container image, built and started without a registry; CI runs it too (root)
# make test-fresh  the README's first command on a fresh Debian 12; CI runs it too (root)
# make lint   what CI runs first: everything that looks at the text
# The long ones, each bounded in time (docs/RELIABILITY.md): fuzz, soak, sanitize, miri (takes a
# nightly compiler).
# make bench  the module beside other servers, into docs/performance (about 20 minutes)
# make deb    Debian packages, in target/deb (docs/packages.md)
# make book   the documents as a book with search, in target/book
# The rest: build, install, uninstall, bench-quick, bench-watched, bench-churn, loom, deps.

APXS       ?= $(firstword $(shell command -v apxs2 apxs 2>/dev/null) apxs)
CARGO      ?= cargo
SUDO       ?= $(shell [ "$$(id -u)" = 0 ] || echo sudo)
DESTDIR    ?=
# Each is asked for once, where it is needed.
LIBEXECDIR  = $(eval LIBEXECDIR := $(shell $(APXS) -q LIBEXECDIR))$(LIBEXECDIR)
SYSCONFDIR  = $(eval SYSCONFDIR := $(shell $(APXS) -q SYSCONFDIR))$(SYSCONFDIR)
# debian, fedora or source: where the configuration goes.
LAYOUT     ?= $(eval LAYOUT := $(shell scripts/layout "$(APXS)"))$(LAYOUT)
SERVERROOT  = $(patsubst %/conf,%,$(SYSCONFDIR))
LOAD_debian    = $(SYSCONFDIR)/mods-available/lua_balancer.load
CONF_debian    = $(SYSCONFDIR)/mods-available
EXAMPLE_debian = $(SYSCONFDIR)/conf-available
LOAD_fedora    = $(SERVERROOT)/conf.modules.d/20-lua_balancer.conf
CONF_fedora    = $(SERVERROOT)/conf.d
EXAMPLE_fedora = $(LUADIR)/examples
LOAD_source    = $(SYSCONFDIR)/extra/lua_balancer.load
CONF_source    = $(SYSCONFDIR)/extra
EXAMPLE_source = $(SYSCONFDIR)/extra
LOAD        = $(LOAD_$(LAYOUT))
CONF        = $(CONF_$(LAYOUT))
EXAMPLE     = $(EXAMPLE_$(LAYOUT))
LUADIR     ?= /usr/share/mod_lua_balancer/lua
INSTALLED   = $(LUADIR)/.installed
STATEDIR   ?= /var/lib/mod_lua_balancer
# Which images test-image tries (debian, httpd); FOLDER keeps them for the next run.
IMAGES     ?= debian
TARGET     ?= $(or $(CARGO_TARGET_DIR),target)
MODULE      = $(TARGET)/release/libmod_lua_balancer.so
LBCTL       = $(TARGET)/release/lbctl
BINDIR     ?= /usr/local/bin
MANDIR     ?= /usr/local/share/man/man1
MAN8DIR    ?= $(MANDIR:/man1=/man8)

export LUA_BALANCER_LUADIR = $(LUADIR)
export LUA_BALANCER_STATEDIR = $(STATEDIR)

.PHONY: all deb book first port deps deps-test build run demo test test-page test-api test-deb test-image test-fresh lint loom symbols install uninstall bench bench-quick bench-watched bench-churn fuzz soak sanitize miri clean

all: build

first:
	@scripts/first

port:
	@scripts/first port $(or $(PORT),8080)

deps: first
	@scripts/deps build

deps-test: first
	@scripts/deps test

build: deps
	$(CARGO) build --release -p mod_lua_balancer -p lbctl

run: port build
	@scripts/demo run "$(MODULE)"

demo: build
	@scripts/demo check "$(MODULE)"

test: deps-test
	@scripts/test

test-page: build
	@scripts/deps page
	@LUA_BALANCER_SO="$(realpath $(MODULE))" scripts/test-page

test-api: build
	@scripts/deps api
	@LUA_BALANCER_SO="$(realpath $(MODULE))" scripts/test-api

# Tools come first: without one the long build would be for nothing.
test-deb: first
	@scripts/deps test-deb
	@scripts/deb
	@scripts/test-deb

test-image: first
	@scripts/deps test-image
	@scripts/test-image "$(FOLDER)" "$(IMAGES)"

test-fresh: first
	@scripts/deps test-deb
	@scripts/test-fresh

lint: first
	@scripts/deps lint
	@scripts/lint

loom:
	RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=$(TARGET)/loom $(CARGO) test -p table --profile tests --test loom

symbols: build
	@scripts/symbols "$(MODULE)"

# Files that were edited where they are installed stay (scripts/install-files).
install:
	@test -f "$(MODULE)" || { echo "run 'make build' first"; exit 1; }
	@test -n "$(LOAD)" || { echo "LAYOUT is debian, fedora or source"; exit 1; }
	install -d "$(DESTDIR)$(LIBEXECDIR)" "$(DESTDIR)$(dir $(LOAD))" "$(DESTDIR)$(CONF)" "$(DESTDIR)$(EXAMPLE)" "$(DESTDIR)$(LUADIR)" "$(DESTDIR)$(STATEDIR)"
	install -m 644 "$(MODULE)" "$(DESTDIR)$(LIBEXECDIR)/.mod_lua_balancer.new"
	mv "$(DESTDIR)$(LIBEXECDIR)/.mod_lua_balancer.new" "$(DESTDIR)$(LIBEXECDIR)/mod_lua_balancer.so"
	sed 's|@LIBEXECDIR@|$(LIBEXECDIR)|' apache-conf/lua_balancer.load > "$(DESTDIR)$(LOAD)"
	@DESTDIR="$(DESTDIR)" scripts/install-files "$(INSTALLED)" "$(CONF)" apache-conf/lua_balancer.conf
	@DESTDIR="$(DESTDIR)" scripts/install-files "$(INSTALLED)" "$(EXAMPLE)" apache-conf/lua_balancer-example.conf
	@DESTDIR="$(DESTDIR)" scripts/install-files "$(INSTALLED)" "$(LUADIR)" $(filter-out %_test.lua,$(wildcard lua/*.lua))
	install -d "$(DESTDIR)$(MAN8DIR)"
	install -m 644 man/mod_lua_balancer.8 "$(DESTDIR)$(MAN8DIR)/mod_lua_balancer.8"
	@if [ -f "$(LBCTL)" ]; then \
	    install -d "$(DESTDIR)$(BINDIR)" "$(DESTDIR)$(MANDIR)" && \
	    install -m 755 "$(LBCTL)" "$(DESTDIR)$(BINDIR)/lbctl" && \
	    "$(LBCTL)" man "$(DESTDIR)$(MANDIR)"; \
	fi
	@[ "$(LAYOUT)" != source ] || grep -qs lua_balancer.load "$(DESTDIR)$(SYSCONFDIR)/httpd.conf" || \
	    echo "add to $(SYSCONFDIR)/httpd.conf: Include $(CONF)/lua_balancer.load, Include $(CONF)/lua_balancer.conf"

# The links of a2enmod and a2enconf go first: a link to nothing would keep httpd from starting.
uninstall:
	@scripts/in-use "$(DESTDIR)$(SYSCONFDIR)"
	rm -f "$(DESTDIR)$(SYSCONFDIR)/mods-enabled/lua_balancer.load" "$(DESTDIR)$(SYSCONFDIR)/mods-enabled/lua_balancer.conf" \
	      "$(DESTDIR)$(SYSCONFDIR)/conf-enabled/lua_balancer-example.conf"
	rm -f "$(DESTDIR)$(LIBEXECDIR)/mod_lua_balancer.so" "$(DESTDIR)$(LOAD)"
	rm -f "$(DESTDIR)$(BINDIR)/lbctl" "$(DESTDIR)$(MANDIR)"/lbctl.1 "$(DESTDIR)$(MANDIR)"/lbctl-*.1
	rm -f "$(DESTDIR)$(MAN8DIR)/mod_lua_balancer.8"
	@DESTDIR="$(DESTDIR)" scripts/install-files -r "$(INSTALLED)"
	@rmdir "$(DESTDIR)$(STATEDIR)" 2>/dev/null || true
	@[ "$(LAYOUT)" != fedora ] || rmdir "$(DESTDIR)$(EXAMPLE)" 2>/dev/null || true
	@rmdir "$(DESTDIR)$(LUADIR)" "$(dir $(DESTDIR)$(LUADIR))" 2>/dev/null || true

deb: first
	@scripts/deps deb
	@scripts/deb

book: first
	@scripts/book

bench: build
	@scripts/bench "$(MODULE)"

bench-quick: build
	@scripts/bench-quick "$(MODULE)"

bench-watched: build
	@scripts/bench-watched "$(MODULE)"

bench-churn: build
	@scripts/bench-churn "$(MODULE)"

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
