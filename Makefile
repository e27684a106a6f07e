# `make demo` and `make test` set up all they need; `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

# R finds this folder's Python and its own copy of the R package; nothing of the user's is touched.
export RETICULATE_PYTHON := $(CURDIR)/.venv/bin/python
export R_LIBS := $(CURDIR)/.Rlib$(if $(R_LIBS),:$(R_LIBS))
export PYTHONNOUSERSITE := 1
unexport PYTHONPATH PYTHONHOME

R_SOURCES := DESCRIPTION $(wildcard vignettes/*.Rmd) $(shell find r-package/NAMESPACE r-package/R r-package/man r-package/inst \
	python/bgformer -type f -not -name '*.pyc' 2>/dev/null)

.PHONY: help setup vignettes demo picture test campaign dependencies coverage lint format build help-pages docs clean

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

setup: .Rlib/complete  ## install what is missing: R from Debian, .venv, the R package into .Rlib

.setup/system: tools/setup.sh
	@tools/setup.sh system
	@mkdir -p $(@D) && touch $@

.venv/complete: .setup/system constraints.txt pyproject.toml
	@tools/setup.sh python

.Rlib/complete: .venv/complete $(R_SOURCES)
	@tools/setup.sh r-package

.setup/docs .setup/browser .setup/coverage: .setup/%: .venv/complete
	@tools/setup.sh $*
	@touch $@

vignettes: setup  ## run the vignettes, so that vignette() shows results in .Rlib; takes some minutes
	@tools/setup.sh vignettes

demo: setup  ## cluster 700 blood cells from R, or your own: make demo DATA=cells.h5ad [LABELS=column]
	@Rscript demo/demo.R $(if $(DATA),"$(DATA)") $(if $(LABELS),"$(LABELS)")

picture: demo .setup/browser  ## renew the pictures of the demo and of its report that the README shows
	@.venv/bin/python -c 'from PIL import Image; picture = Image.open("demo/output/umap.png").convert("RGB"); \
		picture.resize((1200, 460)).quantize(256, method=1).save("docs/images/demo-umap.png", optimize=True)'
	@.venv/bin/python tools/screenshot.py demo/output/report.html docs/images/report.png

test: setup .setup/browser  ## run all tests, Python's and R's
	@tools/test.sh

campaign: setup  ## try 2,000 odd inputs, 200 kills, 100 full disks and 300 inputs from R, or CASES=500 SEED=1
	@status=0; .venv/bin/python tests/campaign --cases $(or $(CASES),2000) --seed $(or $(SEED),0) || status=1; \
		Rscript tests/campaign/campaign.R $$(( $(or $(CASES),2000) * 3 / 20 )) $(or $(SEED),0) && exit $$status

dependencies: setup  ## test Python with the oldest and with the newest dependencies that are allowed
	@work=$$(mktemp -d) && trap 'rm -rf "$$work"' EXIT && tools/dependencies.sh lowest "$$work/lowest" \
		&& tools/dependencies.sh newest "$$work/newest"

coverage: setup .setup/browser .setup/coverage  ## how much of the Python and the R code the tests run; fails below 90 % and 85 %
	@.venv/bin/python -m pytest -q --cov --cov-report=term-missing:skip-covered
	@Rscript tools/coverage.R

lint: setup  ## check the style of the Python and the R code, the spelling and the types
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/codespell
	@.venv/bin/mypy
	@Rscript tools/lint.R

format: .venv/complete  ## put the Python code into the project's format
	@.venv/bin/ruff check --fix --exit-zero .
	@.venv/bin/ruff format .

build: setup  ## the wheel, the Python source archive and the R archive, into dist/
	@tools/build.sh dist

help-pages: setup  ## renew the R help pages and NAMESPACE from the comments in r-package/R
	@Rscript -e 'roxygen2::roxygenise("r-package")'

docs: setup .setup/docs  ## the site with vignettes, the Python tutorial and both references, into docs/site
	@tools/site.sh docs/site

clean:  ## remove all that make has made in this folder
	@rm -rf .setup .venv .Rlib dist demo/output docs/site docs/python/generated
