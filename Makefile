# make book    build the book into _build/html (STRICT=1: once more with every warning an error;
#              REPOSITORY=https://github.com/OWNER/NAME: with buttons that open its notebooks on Colab and Binder)
# make reproduce DATASETS=pets,dtd ENCODERS=ViT-B-32-quickgelu:openai
#              evaluate real data sets, which `lgca datasets fetch` gets, into results/, and build the book on them
#              (GPUS=, PARTS=, METHODS=, SEEDS=, CROPS=; SWEEPS=ablation,crops,settings,ranges,released for the pages
#              beside Table 1; CLUSTER=profiles/slurm spreads it over a cluster)
# make test    run the tests that are quick (ALL=1: all, with those that take long, a browser or a SLURM;
#              TESTS="tests/core/test_boxes.py -k edge": a part of them)
# make bench   time files-to-logits beside the encoder alone and the peers' loop, ways to run the encoder, resampling,
#              class matrices, growth and memory, and write records to results/bench/ (`lgca bench` lists them)
# make lint    ruff, mypy, the floors of the imports, and the schema of the GitHub workflows
# make lock    resolve requirements.lock anew from pyproject.toml (needs uv)
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

# Of `make reproduce`: by default one process on each GPU that is here and may be used, and two cores for each.
DATASETS ?= pets,dtd
ENCODERS ?= ViT-B-32-quickgelu:openai
GPUS ?= $(shell if [ -n "$${CUDA_VISIBLE_DEVICES+set}" ]; then echo "$$CUDA_VISIBLE_DEVICES" | tr , '\n' | grep -c '^[^-]'; \
	else nvidia-smi -L 2>/dev/null | grep -c '^GPU '; fi)
PARTS ?= $(if $(filter 0,$(GPUS)),1,$(GPUS))
CHOSEN = profile=full datasets=$(DATASETS) encoders=$(ENCODERS) gpus=$(GPUS) parts=$(PARTS) \
	$(if $(METHODS),methods=$(METHODS)) $(if $(SEEDS),seeds=$(SEEDS)) $(if $(CROPS),crops=$(CROPS)) \
	$(if $(SWEEPS),sweeps=$(SWEEPS)) $(if $(REPOSITORY),repository=$(REPOSITORY))
ONCE := --nolock --rerun-incomplete --max-checksum-file-size 100000000

.PHONY: book reproduce test bench lint lock clean setup

book: $(READY)
	@.venv/bin/snakemake book $(if $(STRICT),strict) --cores $(JOBS) --quiet all $(ONCE) \
		$(if $(REPOSITORY),--config repository=$(REPOSITORY))
	@echo "The book: open _build/html/index.html"

reproduce: $(READY)
	@test -z "$(if $(CLUSTER),$(filter file,$(origin GPUS) $(origin PARTS)))" || { echo "error: with CLUSTER= say how many" \
		"GPUs to use at once and into how many jobs the encoding goes, such as GPUS=8 PARTS=20" >&2; exit 2; }
	@.venv/bin/snakemake records book --cores $$(($(JOBS) + 2 * $(GPUS))) --quiet all $(ONCE) --resources gpu=$(GPUS) --config $(CHOSEN) \
		$(if $(CLUSTER),--profile $(CLUSTER))
	@echo "The records: results/. The book: open _build/html/index.html"

test: $(READY)
	@OMP_NUM_THREADS=1 .venv/bin/python -m pytest -q -n $(JOBS) --dist loadfile --no-loadscope-reorder \
		$(if $(ALL),,-m "not slow and not browser and not cluster") $(TESTS)

bench: $(READY)
	@.venv/bin/lgca bench pipeline
	@.venv/bin/lgca bench pipeline --precision auto
	@.venv/bin/lgca bench pipeline --precision auto --encoder ViT-B-32-quickgelu $(if $(filter 0,$(GPUS)),--pictures 4 --repeats 9)
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
	@test -n "$(PYTHON)" || { echo "error: Python 3.11 (3.11.4 or newer), 3.12 or 3.13 is needed: install one, or name it as PYTHON=..." >&2; exit 2; }
	@test -x .venv/bin/pip || { echo "Making .venv with $$($(PYTHON) --version)"; $(PYTHON) -m venv .venv; } \
		|| { rm -rf .venv; echo "error: $(PYTHON) could not make .venv: on Debian and Ubuntu, apt-get install python3-venv" >&2; exit 2; }
	@echo "Installing the pinned set (the first time: about 5.5 GB, some minutes)"
	@.venv/bin/pip install --quiet --disable-pip-version-check -r requirements.lock
	@.venv/bin/pip install --quiet --disable-pip-version-check --no-deps -e .
	@rm -f .venv/ready-* && touch $@

lock:
	uv pip compile pyproject.toml --universal --python-version 3.11.4 --extra book --extra test --extra cluster \
		--no-annotate --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" -o requirements.lock

clean:
	rm -rf _build .snakemake
