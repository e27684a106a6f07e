# Runs in a Python process of their own.

skip_if_not_installed("processx")

test_that("a process of its own gives exactly what a run in this one gives", {
  genes <- rownames(counts)[1:300]
  here <- run(seurat_object(), batch.var = "donor", features = genes, resolution = 1 / 3)
  there <- run(seurat_object(), batch.var = "donor", features = genes, resolution = 1 / 3,
               separate.process = TRUE)
  expect_identical(there$bgformer_clusters, here$bgformer_clusters)
  expect_identical(there$bgformer_confidence, here$bgformer_confidence)
  expect_identical(there[["bgformer"]], here[["bgformer"]])
  expect_identical(Seurat::Tool(there, "RunBGFormer"), Seurat::Tool(here, "RunBGFormer"))
  expect_identical(list.files(tempdir(), "^bgformer-"), character())
})

test_that("numbers that JSON has no word for come back, and names of any kind arrive", {
  named <- counts
  rownames(named)[1:3] <- c("Geschm\u00e4ck", "a\nb", "\"c\"")
  colnames(named)[1:2] <- c("Zelle\n1", "\u00e9")
  options <- list(n.clusters = 3, n_anchors = 30, n_top_genes = 700)
  there <- do.call(run, c(list(named, separate.process = TRUE), options))
  expect_identical(there, do.call(run, c(list(named), options)))
  expect_true(is.nan(there$resolution))
})

test_that("errors and warnings are those of a run in this process", {
  expect_identical(error_of(run(counts, n_latent = 3, separate.process = TRUE)),
                   error_of(run(counts, n_latent = 3)))
  expect_match(error_of(run(counts, separate.process = NA)),
               "separate.process must be TRUE or FALSE")
  expect_match(error_of(run(counts[, 1:5], separate.process = TRUE)), "5 cells are too few")
  few <- counts
  few["HES4", ] <- 1 # the only counts that the last cell keeps
  few[rownames(few) != "HES4", 234] <- 0
  warned <- tryCatch(
    run(few, n_top_genes = 50, separate.process = TRUE), warning = conditionMessage
  )
  expect_match(warned, sprintf("1 cells have no counts in the 50 genes used \\(the first: '%s'\\)",
                               colnames(counts)[234]))
})

test_that("progress comes as it is made, and neither death nor interrupt of a run is R's", {
  running <- new_r_running('
    suppressPackageStartupMessages(library(bgformer))
    counts <- readRDS(system.file("extdata", "pbmc700.rds", package = "bgformer"))$counts
    object <- kept <- suppressWarnings(SeuratObject::CreateSeuratObject(counts))
    cat(tempdir(), "\npid", Sys.getpid(), "\n")
    for (how in c("kill", "interrupt", "orphan")) {
      caught <- tryCatch(
        object <- RunBGFormer(object, max_steps = 10000, separate.process = TRUE),
        interrupt = function(e) "interrupted", error = conditionMessage
      )
      cat("said:", caught, "\n")
      cat("unchanged:", identical(object, kept), "left:", list.files(tempdir()), "\n")
    }')
  on.exit(close(running))
  said <- read_until(running, "^pid")
  temporary <- trimws(said[length(said) - 1])
  on.exit(unlink(temporary, recursive = TRUE), add = TRUE)
  r <- ps::ps_handle(as.integer(gsub("[^0-9]", "", said[length(said)])))
  child <- function() {
    said <- read_until(running, "anchors, cpu|anchors, cuda|anchors, mps") # before any training
    expect_match(said[length(said)], "^bgformer: 700 cells x 765 genes")
    ps::ps_children(r)[[1]]
  }

  tools::pskill(ps::ps_pid(child()), tools::SIGKILL)
  said <- trimws(read_until(running, "^unchanged"))
  expect_identical(utils::tail(said, 2), c(
    paste("said: the Python process of this run was ended by signal 9 (is there enough memory?)",
          "before it had an answer; nothing was changed."),
    "unchanged: TRUE left:"
  ))

  python <- child()
  tools::pskill(ps::ps_pid(r), tools::SIGINT)
  said <- trimws(read_until(running, "^unchanged"))
  expect_identical(utils::tail(said, 2), c("said: interrupted", "unchanged: TRUE left:"))
  expect_false(ps::ps_is_running(python))

  python <- child()
  tools::pskill(ps::ps_pid(r), tools::SIGKILL)
  for (i in 1:50) if (ps::ps_is_running(python)) Sys.sleep(0.2)
  expect_false(ps::ps_is_running(python)) # does not go on for nobody
  expect_identical(list.files(temporary, "^bgformer-"), character())
})

test_that("R needs no Python of its own for it, and says what the other one lacks", {
  said <- new_r('
    suppressPackageStartupMessages(library(bgformer))
    counts <- readRDS(system.file("extdata", "pbmc700.rds", package = "bgformer"))$counts
    result <- RunBGFormer(counts, max_steps = 2, verbose = FALSE, separate.process = TRUE)
    cat("started:", reticulate::py_available(), "clusters:", result$n.clusters > 0, "\n")')
  expect_identical(trimws(said), "started: FALSE clusters: TRUE")

  bare <- bare_python()
  there <- '
    suppressPackageStartupMessages(library(bgformer))
    tryCatch(RunBGFormer(matrix(rpois(3000, 1), 60), verbose = FALSE, separate.process = TRUE),
             error = function(e) cat("said:", conditionMessage(e), "\n"))'
  said <- new_r(there, list(RETICULATE_PYTHON = bare$python))
  expect_match(said, "lacks torch, numpy, .*h5py, matplotlib; run '.*' -m pip install 'torch>=2.5'",
               all = FALSE)
  expect_length(said, 1)
  said <- new_r(there, list(RETICULATE_PYTHON = "/nowhere/python"))
  expect_match(said, "Python could not be started .*RETICULATE_PYTHON", all = FALSE)
})

test_that("a run that was killed continues where it stopped, with the same results", {
  before <- setwd(tempdir())
  on.exit(setwd(before))
  ending <- tempfile("ending")
  progress <- basename(tempfile("progress")) # relative, and not there yet
  dir.create(ending)
  on.exit(unlink(c(ending, progress), recursive = TRUE), add = TRUE, after = FALSE)
  # Python's process ends itself when it is about to keep the first block of cells
  writeLines(c(
    "import os, numpy",
    "save = numpy.savez",
    "def savez(file, **arrays):",
    "    if 'latent' in arrays:",
    "        os.kill(os.getpid(), 9)",
    "    save(file, **arrays)",
    "numpy.savez = savez"
  ), file.path(ending, "sitecustomize.py"))
  path <- Sys.getenv("PYTHONPATH")
  Sys.setenv(PYTHONPATH = ending)
  on.exit(Sys.setenv(PYTHONPATH = path), add = TRUE)
  expect_message(
    expect_match(error_of(run(counts, separate.process = TRUE, checkpoint.dir = progress)),
                 "was ended by signal 9"),
    "the progress of the run is in .* repeat the same call"
  )
  Sys.setenv(PYTHONPATH = path)
  expect_match(
    error_of(run(counts, n_latent = 8, separate.process = TRUE, checkpoint.dir = progress)),
    "checkpoint.dir .* holds the progress of a run with other cells or arguments"
  )
  expect_message(
    again <- run(counts, separate.process = TRUE, checkpoint.dir = progress, verbose = TRUE),
    "continuing with 0 of 234 cells placed"
  )
  expect_identical(again, run(counts))
  expect_false(file.exists(progress))
  expect_match(error_of(run(counts, separate.process = TRUE, checkpoint.dir = "no/such")),
               "there is no folder .*no' for checkpoint.dir; make it first")
  expect_match(error_of(run(counts, checkpoint.dir = progress)),
               "checkpoint.dir needs separate.process = TRUE")
})
