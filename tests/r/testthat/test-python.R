internal <- function(name) get(name, asNamespace("bgformer"))
needed <- internal("python_requirements")(r = "4.2.2", reticulate = "1.28")
good <- c(torch = "2.13.0+cpu", numpy = "1.26.4", scipy = "1.17.1", pandas = "2.3.3",
          anndata = "0.12.19", scanpy = "1.11.5", "umap-learn" = "0.5.12",
          "scikit-learn" = "1.9.1", statsmodels = "0.15.0", threadpoolctl = "3.8.0",
          igraph = "1.0.0", safetensors = "0.8.0", h5py = "3.16.0", matplotlib = "3.11.2",
          anndata2ri = "2.0.1", rpy2 = "3.5.17")

test_that("requirements follow R and reticulate", {
  pins <- function(...) internal("pip_requirements")(internal("python_requirements")(...))
  old <- pins(r = "4.2.2", reticulate = "1.28")
  expect_true(all(c("rpy2>=3.5.11,<3.6", "numpy>=1.24,<2", "torch>=2.5") %in% old))
  new <- pins(r = "4.5.0", reticulate = "1.41")
  expect_true(all(c("rpy2>=3.5.11", "numpy>=1.24") %in% new))
})

test_that("requirements are those of pyproject.toml", {
  pyproject <- test_path("..", "..", "..", "pyproject.toml")
  if (file.exists(pyproject)) { # in a checkout; the built package does not carry it
    text <- paste(readLines(pyproject), collapse = " ")
    text <- sub(".*dependencies = \\[", "", sub("\\[project.scripts\\].*", "", text))
    declared <- gsub('"', "", regmatches(text, gregexpr('"[a-z0-9-]+>=[0-9.]+"', text))[[1]])
    expect_setequal(paste0(needed$name, ">=", needed$least), declared)
  }
  expect_identical(needed$name[!is.na(needed$below)], c("numpy", "rpy2"))
})

test_that("what a Python lacks is said in one sentence with the command that fixes it", {
  sentence <- function(have, python = "3.11.2") {
    problems <- internal("python_problems")(python, have, needed)
    command <- internal("fix_command")("/py/bin/python", python, have, needed)
    c(problems, command)
  }
  expect_length(internal("python_problems")("3.11.2", good, needed), 0)
  expect_identical(
    sentence(replace(good, "rpy2", "3.6.9")),
    c("has rpy2 3.6.9 where one below 3.6 is needed with R 4.2.2",
      "'/py/bin/python' -m pip install 'rpy2>=3.5.11,<3.6'")
  )
  expect_identical(
    sentence(replace(good, c("torch", "numpy"), c(NA, "2.1.0"))),
    c("lacks torch", "has numpy 2.1.0 where one below 2 is needed with reticulate 1.28",
      "'/py/bin/python' -m pip install 'torch>=2.5' 'numpy>=1.24,<2'")
  )
  expect_identical(sentence(replace(good, "anndata", "0.9.2"))[1],
                   "has anndata 0.9.2 where 0.11 or later is needed")
  expect_identical(sentence(good, "3.9.2"),
                   c("is version 3.9.2, not 3.10 or later", "bgformer::install_bgformer()"))
})

test_that("a chosen Python without torch is told so, and reticulate makes no other", {
  bare <- bare_python()
  cache <- tempfile("cache-") # where reticulate would keep what it downloads
  for (said in list(
    run_there(list(RETICULATE_PYTHON = bare$python, R_USER_CACHE_DIR = cache)),
    run_there(list(RETICULATE_PYTHON = NA, R_USER_CACHE_DIR = cache),
              sprintf('reticulate::use_python("%s", required = TRUE)', bare$python))
  )) {
    expect_match(said, "lacks torch, numpy, .*rpy2; run '.*' -m pip install 'torch>=2.5'")
    expect_match(said, "and restart R.$")
    expect_match(said, bare$python, fixed = TRUE)
  }
  expect_length(list.files(cache, recursive = TRUE), 0)
})

test_that("an rpy2 that this R cannot load is told so before it is loaded", {
  other <- bare_python(site_packages_in_use())
  info <- file.path(other$site, "anndata2ri-1.0.dist-info")
  dir.create(info)
  writeLines(c("Metadata-Version: 2.1", "Name: anndata2ri", "Version: 1.0"),
             file.path(info, "METADATA"))
  said <- run_there(list(RETICULATE_PYTHON = other$python))
  expect_match(said,
               "has anndata2ri 1.0 where 2.0 or later is needed; run '.*' -m pip install")
  file.rename(info, sub("anndata2ri-1.0", "rpy2-3.7.0", info))
  writeLines(c("Metadata-Version: 2.1", "Name: rpy2", "Version: 3.7.0"),
             file.path(other$site, "rpy2-3.7.0.dist-info", "METADATA"))
  if (getRversion() < "4.5") {
    said <- run_there(list(RETICULATE_PYTHON = other$python))
    expect_match(said,
                 "has rpy2 3.7.0 where one below 3.6 is needed with R")
  } else {
    limits <- internal("python_requirements")()
    expect_true(is.na(limits$below[limits$name == "rpy2"]))
  }
})

test_that("a Python that is not there is told so", {
  said <- run_there(list(RETICULATE_PYTHON = "/nowhere/python"))
  expect_match(said,
               "Python could not be started .*RETICULATE_PYTHON.*does not exist")
})

test_that("without any choice the environment r-bgformer is used, or asked for", {
  homes <- tempfile("homes-")
  dir.create(homes)
  empty <- list(RETICULATE_PYTHON = NA, WORKON_HOME = homes)
  if (!internal("can_require")()) {
    said <- run_there(empty)
    expect_match(said, "no Python to run in; run bgformer::install_bgformer() once",
                 fixed = TRUE)
  }
  bare <- bare_python()
  file.symlink(bare$home, file.path(homes, "r-bgformer"))
  said <- run_there(empty)
  expect_match(said, paste0(bare$python, " lacks torch"), fixed = TRUE)
})

test_that("bgformer_sitrep() says what is in use, without starting Python", {
  said <- new_r('
    suppressPackageStartupMessages(library(bgformer))
    report <- bgformer_sitrep()
    cat("available:", bgformer_available(), "\n")
    cat("problems:", length(report$problems), "started:", reticulate::py_available(), "\n")
    cat("python:", report$python, "\n")')
  expect_match(said, "^Python 3[.0-9]+: .* \\(RETICULATE_PYTHON\\)", all = FALSE)
  expect_match(said, "^  torch +2[.0-9]+", all = FALSE)
  expect_match(said, "^Device: ", all = FALSE)
  expect_true(all(c("All is well.", "available: TRUE ", "problems: 0 started: FALSE ") %in%
                    said))
  expect_match(said, paste("python:", python_in_use()), fixed = TRUE, all = FALSE)
})

test_that("bgformer_sitrep() lives without torch and without Python", {
  sitrep <- 'suppressPackageStartupMessages(library(bgformer)); bgformer_sitrep()
    cat("available:", bgformer_available(), "\n")'
  bare <- bare_python()
  said <- new_r(sitrep, list(RETICULATE_PYTHON = bare$python))
  expect_match(said, "torch +missing", all = FALSE)
  expect_match(said, "^Problem: lacks torch", all = FALSE)
  expect_match(said, "^To fix this, run: .*pip install 'torch>=2.5'", all = FALSE)
  expect_true("available: FALSE " %in% said)

  said <- new_r(sitrep, list(RETICULATE_PYTHON = "/nowhere/python"))
  expect_match(said, "Problem: the Python chosen by RETICULATE_PYTHON cannot be run", all = FALSE)
  expect_true("available: FALSE " %in% said)

  if (!internal("can_require")()) {
    said <- new_r(sitrep, list(RETICULATE_PYTHON = NA, WORKON_HOME = tempfile("empty-")))
    expect_true("To fix this, run: bgformer::install_bgformer()" %in% said)
    expect_true("available: FALSE " %in% said)
  }
})
