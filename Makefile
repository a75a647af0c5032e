# Everything here works from a fresh clone: each target makes what it needs first.
.PHONY: setup ray demo test test-oldest test-lts test-blender lint zip clean

VENV := .venv
OLDEST := .venv-4.2.23
LTS := .venv-4.5.15
TESTS := tools/run_tests.py

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml tools/setup.sh
	tools/setup.sh $(VENV) blender,dev,train

$(OLDEST)/.ready: pyproject.toml tools/setup.sh
	tools/setup.sh $(OLDEST) blender-oldest,dev,train

$(LTS)/.ready: pyproject.toml tools/setup.sh
	tools/setup.sh $(LTS) blender-lts,dev,train

# for the tests of batches on a cluster, which are skipped without it
ray: setup
	$(VENV)/bin/python -m pip install --quiet $(PIP_OPTIONS) -e ".[ray]"

demo: setup
	$(VENV)/bin/python tools/demo.py

test: setup
	$(VENV)/bin/python $(TESTS) $(ARGS)

test-oldest: $(OLDEST)/.ready
	$(OLDEST)/bin/python $(TESTS) $(ARGS)

test-lts: $(LTS)/.ready
	$(LTS)/bin/python $(TESTS) $(ARGS)

# A real Blender with a window, in a Debian system of its own under CHROOT; needs root
test-blender: zip
	tools/test_blender.sh $(ARGS)

# mypy does not follow the editable installation, so the checkout is shown to it under the package's name
lint: setup
	$(VENV)/bin/ruff check .
	mkdir -p $(VENV)/typing && ln -sfn ../.. $(VENV)/typing/mocap_anything
	MYPYPATH=$(VENV)/typing $(VENV)/bin/mypy

zip: setup
	$(VENV)/bin/python tools/build_zip.py

clean:
	rm -rf out build dist
