# `make run` sets up and runs the gateway, `make test` sets up and passes the tests, `make python` makes the package.
.PHONY: run test build python format

JOBS ?= $(shell nproc)

run:
	scripts/install-deps.sh build
	cmake --preset release -DSOLLOL_BUILD_TESTS=OFF -DSOLLOL_BUILD_BENCH=OFF -DSOLLOL_BUILD_PYTHON=OFF
	cmake --build --preset release --target sollol -j $(JOBS)
	scripts/run.sh $(ARGS)

test:
	scripts/install-deps.sh test
	cmake --preset release -DSOLLOL_BUILD_TESTS=ON -DSOLLOL_BUILD_BENCH=ON -DSOLLOL_BUILD_PYTHON=OFF
	cmake --build --preset release -j $(JOBS)
	scripts/test.sh

build:
	cmake --preset release -DSOLLOL_BUILD_TESTS=ON -DSOLLOL_BUILD_BENCH=ON -DSOLLOL_BUILD_PYTHON=OFF
	cmake --build --preset release -j $(JOBS)

# Into build/python/venv; the wheel is in build/python/dist.
python:
	scripts/install-deps.sh python
	scripts/python.sh

format:
	git ls-files '*.cc' '*.h' | xargs clang-format-19 -i
