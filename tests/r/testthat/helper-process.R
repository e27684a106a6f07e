# Code in an R of its own: what it prints on standard output and standard error, line by line.

python_in_use <- function() {
  reticulate::py_config()$python
}

# env: NAME = value, set for that R only; NA unsets.
new_r <- function(code, env = list()) {
  script <- write_script(code)
  on.exit(unlink(script))
  with_env(env, suppressWarnings(
    system2(rscript(), shQuote(c("--no-init-file", script)), stdout = TRUE, stderr = TRUE)
  ))
}

# What the first run says in an R whose Python is chosen by `env` and the code in `before`.
run_there <- function(env = list(), before = "") {
  said <- new_r(paste(before, '
    suppressPackageStartupMessages(library(bgformer))
    tryCatch(RunBGFormer(matrix(rpois(3000, 1), 60), max_steps = 1, verbose = FALSE),
             error = function(e) cat("said:", conditionMessage(e), "\n"))'), env)
  trimws(grep("^said:", said, value = TRUE))
}

# As new_r(), but still running: a connection to read lines from.
new_r_running <- function(code) {
  script <- write_script(code)
  with_env(list(), pipe(paste("exec", rscript(), "--no-init-file", shQuote(script), "2>&1"), "r"))
}

rscript <- function() {
  file.path(R.home("bin"), "Rscript")
}

write_script <- function(code) {
  script <- tempfile(fileext = ".R")
  writeLines(code, script)
  script
}

with_env <- function(env, code) {
  env <- utils::modifyList(
    list(R_LIBS = paste(.libPaths(), collapse = .Platform$path.sep),
         RETICULATE_PYTHON = python_in_use(), R_TESTS = ""),
    env
  )
  old <- Sys.getenv(names(env), unset = NA, names = TRUE)
  on.exit({
    Sys.unsetenv(names(old)[is.na(old)])
    if (any(!is.na(old))) do.call(Sys.setenv, as.list(old[!is.na(old)]))
  })
  unset <- is.na(env)
  Sys.unsetenv(names(env)[unset])
  do.call(Sys.setenv, env[!unset])
  force(code)
}

read_until <- function(connection, pattern) {
  lines <- character()
  repeat {
    line <- readLines(connection, n = 1)
    lines <- c(lines, line)
    if (length(line) == 0 || grepl(pattern, line)) {
      return(lines)
    }
  }
}

# A virtual environment without any package; `packages` are folders its Python finds besides.
bare_python <- function(packages = character()) {
  home <- tempfile("bare-")
  system2(python_in_use(), c("-m", "venv", "--without-pip", home))
  site <- Sys.glob(file.path(home, "lib", "python3*", "site-packages"))
  if (length(packages) > 0) {
    writeLines(packages, file.path(site, "more.pth"))
  }
  list(home = home, python = file.path(home, "bin", "python"), site = site)
}

site_packages_in_use <- function() {
  reticulate::import("sysconfig")$get_path("purelib")
}

# What a Python of its own prints, word by word: `...` are its lines, `adata` the counts, and
# `folder` the path in `args`.
python_says <- function(counts, ..., args) {
  data <- tempfile("data-")
  dir.create(data)
  Matrix::writeMM(counts, file.path(data, "counts.mtx"))
  writeLines(rownames(counts), file.path(data, "genes.txt"))
  script <- file.path(data, "script.py")
  writeLines(c(
    "import sys, pathlib",
    "sys.path.insert(0, sys.argv[1])",
    "import anndata, scipy.io, bgformer as bgf",
    "data, folder = map(pathlib.Path, sys.argv[2:])",
    "adata = anndata.AnnData(scipy.io.mmread(data / 'counts.mtx').T.tocsr())",
    "adata.var_names = (data / 'genes.txt').read_text().split()",
    ...
  ), script)
  source <- system.file("python", package = "bgformer")
  said <- system2(python_in_use(), shQuote(c(script, source, data, args)), stdout = TRUE)
  testthat::expect_null(attr(said, "status"))
  strsplit(said, " ")[[1]]
}
