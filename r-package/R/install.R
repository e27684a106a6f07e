#' Install the Python packages that bgformer needs
#'
#' Makes a virtual environment and installs torch, anndata, anndata2ri, rpy2 and the other packages,
#' in versions that work with this R and this reticulate. bgformer then uses it, unless you choose
#' another Python with `RETICULATE_PYTHON` or `reticulate::use_python()`. bgformer's own Python code
#' comes with this package and is not installed.
#'
#' On Linux, the default build of torch is for GPUs and takes several GB. Without a GPU, give the
#' `pip_options` of the second example, which install the build for the CPU.
#'
#' @param envname Name of the virtual environment. bgformer finds `"r-bgformer"` by itself; any
#'   other must be chosen with [reticulate::use_virtualenv()].
#' @param python Path of the Python (3.10 or later, with a shared library) to make it from; `NULL`
#'   lets reticulate choose.
#' @param ... Passed to [reticulate::virtualenv_install()], such as `pip_options` for another
#'   build of torch.
#'
#' @return The path of the environment, invisibly.
#' @examples
#' # Both download several hundred megabytes and make a virtual environment for the user.
#' if (interactive()) {
#'   install_bgformer()
#'   # torch without CUDA, which is much smaller
#'   install_bgformer(pip_options = "--extra-index-url https://download.pytorch.org/whl/cpu")
#' }
#' @export
install_bgformer <- function(envname = environment_name, python = NULL, ...) {
  path <- reticulate::virtualenv_create(envname, python = python, packages = FALSE)
  version <- python_report(reticulate::virtualenv_python(envname), character())$version
  if (is.null(version) || version_number(version) < oldest_python()) {
    stop("the environment at ", path, " has Python ", version, "; bgformer needs ",
         oldest_python(), " or later: delete it with reticulate::virtualenv_remove(\"", envname,
         "\") and give install_bgformer(python = ) the path of a newer one.", call. = FALSE)
  }
  reticulate::virtualenv_install(envname, packages = pip_requirements(), ...)
  if (reticulate::py_available()) {
    message("Restart R: this session runs another Python already.")
  } else if (envname != environment_name) {
    message("Call reticulate::use_virtualenv(\"", envname, "\") before the first run.")
  }
  invisible(path)
}

#' Say which Python bgformer uses, and what is missing
#'
#' `bgformer_sitrep()` prints the versions of R, Python and their packages, the device that training
#' would use, what is missing or has a wrong version, and the command that fixes it.
#' `bgformer_available()` only says whether [RunBGFormer()] can run now, for code that must also
#' pass on machines where it cannot. Both ask Python in a separate process, so nothing is started in
#' this one.
#'
#' @return `bgformer_sitrep()`: invisibly, a list of `python` (path, or `NULL`), `python_version`,
#'   `chosen_by`, `packages` (a data frame of name, version and what is needed), `device`,
#'   `problems` and `command` (sentences and commands; empty if all is well).
#'
#'   `bgformer_available()`: `TRUE` or `FALSE`. It is also `FALSE` if reticulate would install a
#'   Python at the first run.
#' @examples
#' \donttest{
#' bgformer_sitrep()
#' }
#' bgformer_available()
#' @export
bgformer_sitrep <- function() {
  state <- python_state(device = TRUE)
  print_sitrep(state)
  invisible(state)
}

#' @rdname bgformer_sitrep
#' @export
bgformer_available <- function() {
  state <- python_state()
  !is.null(state$python) && length(state$problems) == 0
}

# `device`: find the device too, for which torch must be loaded: that takes seconds.
python_state <- function(device = FALSE) {
  needed <- python_requirements()
  chosen <- chosen_python()
  report <- python_report(chosen$path, needed$name, device)
  have <- setNames(report$packages[needed$name], needed$name)
  found <- !is.null(report$version)
  result <- list(
    python = if (found) chosen$path,
    python_version = report$version,
    chosen_by = chosen$by,
    packages = data.frame(name = needed$name, version = unname(have),
                          needed = sub("^[^>]+", "", pip_requirements(needed))),
    device = report$device,
    problems = if (found) python_problems(report$version, have) else no_python(chosen),
    command = character()
  )
  if (length(result$problems) > 0) {
    result$command <- if (found) {
      fix_command(chosen$path, report$version, have)
    } else {
      "bgformer::install_bgformer()"
    }
  }
  result
}

no_python <- function(chosen) {
  if (is.null(chosen$by)) {
    return("no Python was chosen and there is no virtual environment 'r-bgformer'")
  }
  if (identical(chosen$by, "reticulate::py_require()")) {
    return(character()) # reticulate makes one at the first run
  }
  paste("the Python chosen by", chosen$by, "cannot be run")
}

print_sitrep <- function(result) {
  versions <- vapply(c("reticulate", "SingleCellExperiment", "Seurat"), function(name) {
    if (nzchar(system.file(package = name))) {
      paste(name, utils::packageVersion(name))
    } else {
      paste(name, "not installed")
    }
  }, character(1))
  writeLines(c(
    paste("bgformer", utils::packageVersion("bgformer")),
    paste0("R ", getRversion(), ": ", paste(versions, collapse = ", ")),
    if (is.null(result$python)) {
      paste("Python: none yet", if (!is.null(result$chosen_by)) paste("from", result$chosen_by))
    } else {
      c(
        sprintf("Python %s: %s (%s)", result$python_version, result$python, result$chosen_by),
        sprintf("  %-13s %-14s %s", result$packages$name,
                ifelse(is.na(result$packages$version), "missing", result$packages$version),
                result$packages$needed),
        paste("Device:", result$device)
      )
    }
  ))
  if (length(result$problems) == 0) {
    writeLines("All is well.")
  } else {
    writeLines(c(paste("Problem:", result$problems), paste("To fix this, run:", result$command)))
  }
}

# Asks a Python, in a process of its own, for its version, the packages' versions and the device.
python_report <- function(python, packages, device = FALSE) {
  report <- list(version = NULL, packages = setNames(rep(NA_character_, length(packages)),
                                                            packages), device = "unknown")
  if (is.null(python)) {
    return(report)
  }
  script <- tempfile(fileext = ".py")
  on.exit(unlink(script))
  writeLines(c(
    "import sys",
    "from importlib import metadata",
    "print('version', '.'.join(map(str, sys.version_info[:3])), sep='\\t')",
    "for name in sys.argv[1:]:",
    "    try:",
    "        print(name, metadata.version(name), sep='\\t')",
    "    except metadata.PackageNotFoundError:",
    "        pass",
    if (device) c(
      "import torch",
      "gpu = torch.cuda.is_available()",
      "mps = torch.backends.mps.is_available()",
      "print('device', 'cuda (' + torch.cuda.get_device_name() + ')' if gpu else",
      "      'mps' if mps else 'cpu', sep='\\t')"
    )
  ), script)
  lines <- tryCatch(
    suppressWarnings(system2(python, c(shQuote(script), packages), stdout = TRUE, stderr = FALSE)),
    error = function(e) character()
  )
  pairs <- strsplit(grep("\t", lines, value = TRUE, fixed = TRUE), "\t", fixed = TRUE)
  values <- setNames(vapply(pairs, `[`, "", 2), vapply(pairs, `[`, "", 1))
  known <- intersect(packages, names(values))
  report$packages[known] <- values[known]
  if ("version" %in% names(values)) {
    report$version <- values[["version"]]
  }
  if ("device" %in% names(values)) {
    report$device <- values[["device"]]
  } else if (device && !is.null(report$version)) {
    report$device <- "none, because torch cannot be loaded"
  }
  report
}
