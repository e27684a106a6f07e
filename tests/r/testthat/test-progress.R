# Progress comes as messages, and nothing else is printed.

# The messages of a call, as they are.
messages_of <- function(call) {
  said <- character()
  withCallingHandlers(call, message = function(m) {
    said <<- c(said, conditionMessage(m))
    invokeRestart("muffleMessage")
  })
  said
}

expect_progress <- function(said) {
  testthat::expect_length(said, 4)
  testthat::expect_match(said[1], "^bgformer: 234 cells x [0-9]+ genes, 40 anchors, [a-z]+\n$")
  testthat::expect_match(said[2], "^bgformer: step 1/2, [0-9]+ s left\n$")
  testthat::expect_identical(said[3], "bgformer: step 2/2, 0 s left\n")
  testthat::expect_match(said[4], "^bgformer: [0-9]+ clusters?\n$")
}

test_that("suppressMessages() and verbose = FALSE leave nothing to print", {
  # matplotlib, which nothing draws with, would complain about this folder
  said <- new_r('
    suppressMessages({
      library(bgformer)
      blood <- readRDS(system.file("extdata", "pbmc700.rds", package = "bgformer"))
      object <- RunBGFormer(blood$counts, max_steps = 3) # starts Python
      object <- suppressWarnings(SeuratObject::CreateSeuratObject(blood$counts))
      object <- RunBGFormer(object, max_steps = 3, resolution = 1)
      clusters <- ReclusterBGFormer(object, n.clusters = 3)
      predicted <- PredictBGFormer(object, object)
      folder <- file.path(tempdir(), "model")
      SaveBGFormer(object, folder)
      loaded <- LoadBGFormer(folder)
      pdf(NULL)
      for (draw in list(BGFormerPlot, AnchorPlot, ResolutionPlot, EvidencePlot,
                        ClusterTreePlot)) {
        print(draw(object))
      }
    })
    silent <- RunBGFormer(blood$counts, max_steps = 3, verbose = FALSE)
    silent <- PredictBGFormer(blood$counts, silent, verbose = FALSE)',
    list(MPLCONFIGDIR = "/nowhere")
  )
  expect_identical(said, character())
  skip_if_not_installed("processx")
  said <- new_r('
    suppressMessages(library(bgformer))
    blood <- readRDS(system.file("extdata", "pbmc700.rds", package = "bgformer"))
    result <- suppressMessages(
      RunBGFormer(blood$counts, max_steps = 3, separate.process = TRUE,
                  checkpoint.dir = file.path(tempdir(), "progress"))
    )
    silent <- RunBGFormer(blood$counts, max_steps = 3, separate.process = TRUE, verbose = FALSE)',
    list(MPLCONFIGDIR = "/nowhere")
  )
  expect_identical(said, character())
})

test_that("progress is messages, whose lines are the same both ways", {
  expect_progress(messages_of(run_talking(counts)))
  skip_if_not_installed("processx")
  expect_progress(messages_of(run_talking(counts, separate.process = TRUE)))
})

test_that("sink() and knitr find the progress", {
  file <- tempfile()
  sunk <- file(file, "w")
  sink(sunk, type = "message")
  tryCatch(run_talking(counts), finally = {
    sink(type = "message")
    close(sunk)
  })
  expect_progress(paste0(readLines(file), "\n"))
  skip_if_not_installed("knitr")
  knitted <- function(options) {
    chunk <- paste0("```{r ", options, "}\n",
                    "result <- run_talking(counts)\n```")
    lines <- strsplit(knitr::knit(text = chunk, quiet = TRUE, envir = environment()), "\n")[[1]]
    sub("^## ", "", grep("^## ", lines, value = TRUE))
  }
  expect_progress(paste0(knitted("echo = FALSE"), "\n"))
  expect_identical(knitted("echo = FALSE, message = FALSE"), character())
})

test_that("a handler has the caller's options", {
  seen <- character()
  withCallingHandlers(run(counts, max_steps = 1, verbose = TRUE), message = function(m) {
    seen <<- c(seen, getOption("warn"))
    invokeRestart("muffleMessage")
  })
  expect_identical(unique(seen), as.character(getOption("warn")))
})

test_that("a handler may leave a run in this process, and the next one goes well", {
  said <- new_r('
    suppressMessages(library(bgformer))
    counts <- readRDS(system.file("extdata", "pbmc700.rds", package = "bgformer"))$counts
    run <- function(...) RunBGFormer(counts, max_steps = 20, n_anchors = 40, ...)
    first <- run(verbose = FALSE)
    cat("caught:", tryCatch({
      run()
      "nothing"
    }, message = conditionMessage))
    at_step <- function(act) function(m) {
      if (grepl("step", conditionMessage(m))) act()
      invokeRestart("muffleMessage")
    }
    cat("error:", tryCatch(
      withCallingHandlers(run(), message = at_step(function() stop("enough"))),
      error = conditionMessage
    ), "\n")
    cat("restart:", withRestarts(
      withCallingHandlers(run(), message = at_step(function() invokeRestart("mine", "taken"))),
      mine = identity
    ), "\n")
    times <- 0
    once <- at_step(function() {
      times <<- times + 1
      if (times == 1) stop("enough")
    })
    cat("once:", tryCatch(withCallingHandlers(run(), message = once), error = conditionMessage),
        "\n")
    within <- NULL
    suppressMessages(withCallingHandlers(outer <- run(), message = function(m) {
      if (is.null(within)) {
        within <<- "being made"
        tryCatch(run(), message = identity)
        within <<- suppressMessages(run())
      }
    }))
    for (i in 1:20) tryCatch(run(), message = identity)
    invisible(gc())
    cat("same:", identical(run(verbose = FALSE), first), identical(outer, first),
        identical(within, first), "\n")
    withCallingHandlers(run(), message = at_step(function() stop("nobody catches this")))
    cat("not reached\n")')
  expect_match(said[1], "^caught: bgformer: 700 cells x 765 genes, 40 anchors")
  expect_identical(trimws(said[2:3]), c("error: enough", "restart: taken"))
  expect_match(said[4], "^once: the run was stopped while it showed the message 'bgformer: step")
  expect_identical(trimws(said[5]), "same: TRUE TRUE TRUE")
  expect_match(said[6], "^Error .*nobody catches this")
  expect_identical(said[length(said)], "Execution halted")
  expect_false("not reached" %in% said)
})
