# Two commands: `make run` sets up and runs the gateway, `make test` sets up and passes the tests.
.PHONY: run test build format

JOBS ?= $(shell nproc)

run:
	scripts/install-deps.sh build
	cmake --preset release -DSOLLOL_BUILD_TESTS=OFF -DSOLLOL_BUILD_BENCH=OFF
	cmake --build --preset release --target sollol -j $(JOBS)
	scripts/run.sh $(ARGS)

test:
	scripts/install-deps.sh test
	cmake --preset release -DSOLLOL_BUILD_TESTS=ON -DSOLLOL_BUILD_BENCH=ON
	cmake --build --preset release -j $(JOBS)
	scripts/test.sh

build:
	cmake --preset release
	cmake --build --preset release -j $(JOBS)

format:
	git ls-files '*.cc' '*.h' | xargs clang-format-19 -i
