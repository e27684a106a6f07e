# Runs tests/r on the installed R package and writes "passed failed skipped", in tests, to a file.
report <- commandArgs(trailingOnly = TRUE)[1]
results <- as.data.frame(testthat::test_dir(
  "tests/r/testthat", package = "bgformer", load_package = "installed", stop_on_failure = FALSE,
  reporter = testthat::ProgressReporter$new(update_interval = Inf) # one line for each file
))
failed <- results$failed > 0 | results$error
skipped <- results$skipped & !failed
writeLines(paste(sum(!failed & !skipped), sum(failed), sum(skipped)), report)
quit(status = as.integer(any(failed) || nrow(results) == 0))
