# How a run behaves inside the R process.

test_that("library(bgformer) starts nothing, and a run leaves R's state alone", {
  said <- new_r('
    before <- ls(globalenv(), all.names = TRUE)
    suppressPackageStartupMessages(library(bgformer))
    cat("started:", reticulate::py_available(), "\n")
    counts <- readRDS(system.file("extdata", "pbmc700.rds", package = "bgformer"))$counts
    set.seed(1) # without a .Random.seed, reticulate creates one when Python starts
    random <- .Random.seed
    before <- c("before", "random", ls(globalenv(), all.names = TRUE))
    options(warn = 1)
    result <- RunBGFormer(counts, max_steps = 2, verbose = FALSE)
    cat("warn:", getOption("warn"), "\n")
    cat("new:", setdiff(ls(globalenv(), all.names = TRUE), before), "\n")
    cat("random:", identical(random, .Random.seed), "\n")')
  # nothing else is printed: no warning of rpy2, no progress
  expect_identical(trimws(said),
                   c("started: FALSE", "warn: 1", "new: result", "random: TRUE"))
})

test_that("a run can be interrupted, and R can be interrupted after a run", {
  running <- new_r_running('
    suppressPackageStartupMessages(library(bgformer))
    cat("pid", Sys.getpid(), "\n")
    counts <- readRDS(system.file("extdata", "pbmc700.rds", package = "bgformer"))$counts
    result <- "untouched"
    set.seed(1) # without a .Random.seed, reticulate creates one when Python starts
    before <- ls(globalenv(), all.names = TRUE)
    caught <- tryCatch({
      result <- RunBGFormer(counts, max_steps = 10000)
      "finished"
    }, interrupt = function(e) "interrupted", error = conditionMessage)
    cat("the run was", caught, "\n")
    cat("result is", result, "\n")
    cat("left:", setdiff(ls(globalenv(), all.names = TRUE), c(before, "before", "caught")), "\n")
    cat("bridge:", ls(get("bridge", asNamespace("bgformer"))), "\n")
    result <- RunBGFormer(counts, max_steps = 2, verbose = FALSE)
    caught <- tryCatch({
      cat("waiting\n")
      Sys.sleep(60)
      "finished"
    }, interrupt = function(e) "interrupted")
    cat("R was", caught, "\n")')
  on.exit(close(running))
  said <- read_until(running, "^pid")
  pid <- as.integer(gsub("[^0-9]", "", said[length(said)]))
  read_until(running, "anchors, cpu|anchors, cuda|anchors, mps")
  tools::pskill(pid, tools::SIGINT)
  said <- read_until(running, "^waiting")
  expect_match(said, "^the run was interrupted", all = FALSE)
  expect_match(said, "^result is untouched", all = FALSE)
  expect_identical(said[length(said)], "waiting") # the second run went well
  expect_identical(trimws(grep("^left:|^bridge:", said, value = TRUE)), c("left:", "bridge:"))
  tools::pskill(pid, tools::SIGINT)
  said <- read_until(running, "^R was")
  expect_match(said, "^R was interrupted", all = FALSE)
})

test_that("many conversions in one process neither end it nor fill its memory", {
  said <- new_r('
    suppressPackageStartupMessages(library(bgformer))
    counts <- readRDS(system.file("extdata", "pbmc700.rds", package = "bgformer"))$counts
    used <- numeric()
    for (i in 1:20) {
      garbage <- lapply(1:50, function(i) reticulate::r_to_py(rnorm(1000)))
      result <- RunBGFormer(counts[, 1:200], max_steps = 1, n_anchors = 20, resolution = 1,
                            verbose = FALSE)
      result <- ReclusterBGFormer(result, resolution = 1)
      used[i] <- sum(gc()[, 2])
    }
    cat("runs:", i, "grown:", used[20] - used[3] > 2, "\n")')
  expect_identical(trimws(said), "runs: 20 grown: FALSE")
})

test_that("a matrix is clustered without Bioconductor, which takes long to load", {
  said <- new_r('
    library(bgformer)
    result <- RunBGFormer(matrix(rpois(3000, 1), 60), max_steps = 1, verbose = FALSE)
    cat("cells:", length(result$clusters), "\n")
    cat("loaded:", intersect(loadedNamespaces(), c("SingleCellExperiment", "S4Vectors")), "\n")')
  expect_true("cells: 50 " %in% said)
  expect_identical(trimws(grep("^loaded:", said, value = TRUE)), "loaded:")
})
