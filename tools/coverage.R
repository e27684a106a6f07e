# How much of r-package/R the tests in tests/r run; exits 1 below 85 %.
found <- covr::package_coverage("r-package", type = "none", code = paste0(
  "testthat::test_dir('", normalizePath("tests/r/testthat"), "', package = 'bgformer', ",
  "load_package = 'installed', reporter = 'progress')"
))
print(found)
missed <- covr::zero_coverage(found)
cat(sprintf("  not run: %s:%d\n", basename(missed$filename), missed$line), sep = "")
quit(status = as.integer(covr::percent_coverage(found) < 85))
