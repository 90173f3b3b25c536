# make book    build the book into _build/html (STRICT=1: once more with every warning an error;
#              REPOSITORY=https://github.com/OWNER/NAME: with buttons that open its notebooks on Colab and Binder)
# make reproduce DATASETS=pets,dtd ENCODERS=ViT-B-32-quickgelu:openai
#              evaluate real data sets, which `lgca datasets fetch` gets, into results/, and build the book on them
#              (ENCODERS=NAME:/path/to/file and DATASETS=pets:/path/to/copy for your own; GPUS=, PARTS=, METHODS=,
#              SEEDS=, CROPS=, DEVICE=; SWEEPS=ablation,crops,settings,ranges,released for the pages beside Table 1;
#              CLUSTER=profiles/slurm spreads it over a cluster); by default one process on each GPU that may be used
# make plan    say what `make reproduce` with the same choices would do, how long it would take, and what is missing
# make related train the arms of the related systems and write their records to results/related/ (some hours on two cores;
#              stop it at will, the same command goes on)
# make study   train five encoders and evaluate the methods on two hundred species, into results/aviary-large/ (hours on
#              two cores; stop it at will, the same command says what is left and goes on; JOBS=1 for one core)
# make test    run the tests that are quick (ALL=1: all, with those that take long, a browser or a SLURM;
#              TESTS="tests/core/test_boxes.py -k edge": a part of them)
# make bench   time files-to-logits beside the encoder alone and the peers' loop, ways to run the encoder, resampling,
#              class matrices, growth and memory, and write records to results/bench/ (`lgca bench` lists them)
# make lint    ruff, mypy, the floors of the imports, and the schema of the GitHub workflows
# make lock    resolve requirements.lock anew from pyproject.toml (needs uv)
# make release build the book strictly and pack it into _build/release/, an archive that opens from a disk, with its checksum
# make clean   remove what `make book` built
#
# Each sets itself up in .venv first. Needed: make and Python 3.11 (3.11.4 or newer), 3.12 or 3.13 (PYTHON=... names another one).

JOBS ?= 2
TESTS ?=
ALL ?=
STRICT ?=

# The first of these that is new enough, unless PYTHON says which.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11, 4) <= sys.version_info < (3, 14))' 2>/dev/null && { echo $$p; break; }; done)
# The set-up is named after the content of what it installs, so a checkout's file times do not matter.
READY := .venv/ready-$(shell cat requirements.lock pyproject.toml | cksum | cut -d ' ' -f 1)

# What is given reaches programs by the environment, as it is: no shell reads it, and make does not read it twice.
GIVEN := JOBS STRICT REPOSITORY DATASETS ENCODERS GPUS PARTS METHODS SEEDS CROPS SWEEPS DEVICE CLUSTER SNAKEMAKE TESTS
$(foreach name,$(GIVEN),$(eval export GIVEN_$(name) := $$(value $(name))))
export GIVEN_PYTHON := $(if $(filter file,$(origin PYTHON)),$(PYTHON),$(value PYTHON))
unexport $(GIVEN) PYTHON

.PHONY: book plan reproduce related study test bench lint lock release clean setup

book: $(READY)
	@.venv/bin/python -m lgca_book.building.run_graph book
	@echo "The book: open _build/html/index.html"

plan reproduce related study: $(READY)
	@OMP_NUM_THREADS=1 .venv/bin/python -m lgca_book.building.run_graph $@

release: $(READY)
	@GIVEN_STRICT=1 .venv/bin/python -m lgca_book.building.run_graph book
	@.venv/bin/python -m lgca_book.building.release _build/html _build/release

test: $(READY)
	@printf '%s\n' -q "$$GIVEN_TESTS" | OMP_NUM_THREADS=1 xargs .venv/bin/python -m pytest -n "$$GIVEN_JOBS" \
		--dist loadfile --no-loadscope-reorder $(if $(ALL),,-m "not slow and not browser and not cluster")

bench: $(READY)
	@.venv/bin/lgca bench pipeline
	@.venv/bin/lgca bench pipeline --precision auto
	@.venv/bin/lgca bench pipeline --precision auto --encoder ViT-B-32-quickgelu $(shell nvidia-smi -L >/dev/null 2>&1 || echo --pictures 4 --repeats 9)
	@.venv/bin/lgca bench encoding
	@.venv/bin/lgca bench encoding --precision auto
	@.venv/bin/lgca bench resampling --size 64
	@.venv/bin/lgca bench resampling
	@.venv/bin/lgca bench class-matrix
	@.venv/bin/lgca bench growth
	@.venv/bin/lgca bench growth --precision auto
	@.venv/bin/lgca bench store-memory

lint: $(READY)
	@.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy && .venv/bin/lint-imports --no-cache --no-logo
	@.venv/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml

setup: $(READY)

$(READY):
	@test -n "$$GIVEN_PYTHON" || { echo "error: Python 3.11 (3.11.4 or newer), 3.12 or 3.13 is needed: install one, or name it as PYTHON=..." >&2; exit 2; }
	@test -x .venv/bin/pip || { echo "Making .venv with $$("$$GIVEN_PYTHON" --version)"; "$$GIVEN_PYTHON" -m venv .venv; } \
		|| { rm -rf .venv; echo "error: $$GIVEN_PYTHON could not make .venv: on Debian and Ubuntu, apt-get install python3-venv" >&2; exit 2; }
	@echo "Installing the pinned set (the first time: about 7 GB, some minutes)"
	@.venv/bin/pip install --quiet --disable-pip-version-check -r requirements.lock
	@.venv/bin/pip install --quiet --disable-pip-version-check --no-deps -e .
	@rm -f .venv/ready-* && touch $@

lock:
	uv pip compile pyproject.toml --universal --python-version 3.11.4 --extra book --extra test --extra cluster \
		--no-annotate --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" -o requirements.lock

clean:
	rm -rf _build .snakemake
