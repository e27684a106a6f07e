# Checks the style of all R code by r-package/.lintr; exits 1 after printing what it found.
options(lintr.linter_file = normalizePath("r-package/.lintr"))
found <- lapply(c("r-package/R", "tests/r", "demo", "tools"), lintr::lint_dir)
for (lints in found) if (length(lints) > 0) print(lints)
cat("R:", sum(lengths(found)), "lints\n")
quit(status = as.integer(sum(lengths(found)) > 0))
