# Wrenn on this machine. `make run` needs Debian 12 or newer, root and Rust; everything else it installs.

export WRENN_DIR ?= /var/lib/wrenn
export WRENN_CACHE ?= /var/cache/wrenn
export ADDR ?= 127.0.0.1:8080
export PREFIX ?= /usr/local
export DESTDIR

help:
	@echo 'make run        install what is missing, build, and serve on ADDR ($(ADDR)) from WRENN_DIR ($(WRENN_DIR))'
	@echo 'make build      build only'
	@echo 'make install    program, units, configuration, manual, below PREFIX ($(PREFIX)) of DESTDIR, as after make build'
	@echo 'make deb        a Debian package of the same'
	@echo 'make test       every test, real microVMs included; no packet leaves the machine'
	@echo 'make test-long  the tests that take too long for every day: failures, panics and hangs at every step of real microVMs, and more'
	@echo 'make test-kvm-host  the part of it that needs device-mapper and KVM, on a machine that has both: an emulated one'
	@echo 'make check      formatting, lints, generated code'
	@echo 'make uninstall  end what runs, give the machine back, take away what make install put there; PURGE=1 deletes WRENN_DIR and the cache too'
	@echo 'make clean      delete what was built'

run:
	@scripts/run

build:
	cargo build --release --locked --package wrenn

install:
	@scripts/install

deb: build
	@scripts/deb

test:
	@scripts/test

test-long:
	@scripts/test --long

test-kvm-host:
	@tests/kvm-host/run

check:
	@scripts/check

uninstall:
	@PURGE=$(PURGE) scripts/uninstall

clean:
	cargo clean

.PHONY: help run build install deb test test-long test-kvm-host check uninstall clean
