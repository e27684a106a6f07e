# How much of r-package/R the tests in tests/r run; exits 1 below 85 %.
found <- covr::package_coverage("r-package", type = "none", code = paste0(
  "testthat::test_dir('", normalizePath("tests/r/testthat"), "', package = 'bgformer', ",
  "load_package = 'installed', reporter = 'progress')"
))
print(found)
lines <- as.data.frame(found)
missed <- lines[lines$value == 0, ]
cat(sprintf("  not run: %s:%d\n", basename(missed$filename), missed$first_line), sep = "")
quit(status = as.integer(covr::percent_coverage(found) < 85))
