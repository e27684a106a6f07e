# A run in a Python process of its own. R's process loads neither Python nor torch, and survives
# whatever happens to the other.

# Runs bgformer.r.process on a folder with counts; progress is shown as it comes, and an interrupt
# ends the process.
ask_process <- function(folder, checkpoint.dir) {
  need_package("processx", "install.packages(\"processx\")")
  python <- python_path()
  source <- system.file("python", package = "bgformer", mustWork = TRUE)
  path <- c(source, Sys.getenv("PYTHONPATH"))
  child <- processx::process$new(
    python, c("-m", "bgformer.r.process", folder),
    stdin = "|", # closes when R ends, and then Python ends too
    stderr = "|",
    wd = folder, # Python looks for modules there first, and so not among the user's files
    env = c("current", PYTHONPATH = paste(path[nzchar(path)], collapse = .Platform$path.sep)),
    cleanup_tree = TRUE
  )
  answered <- FALSE
  on.exit({
    child$kill_tree()
    child$wait() # its folder is removed next
    if (!answered && has_progress(checkpoint.dir)) {
      message("bgformer: the progress of the run is in '", checkpoint.dir, "'; to continue, ",
              "repeat the same call.")
    }
  })
  said <- relay(child)
  if (!file.exists(file.path(folder, answer_file))) {
    stop(died(child$get_exit_status(), said, python), call. = FALSE)
  }
  answer <- read_answer(folder)
  answered <- TRUE
  told(answer)
}

has_progress <- function(checkpoint.dir) {
  !is.null(checkpoint.dir) && file.exists(file.path(checkpoint.dir, "trained.npz"))
}

# Shows the progress until the process ends, and returns what else it said.
relay <- function(child) {
  others <- character()
  while (child$is_incomplete_error()) {
    child$poll_io(-1)
    lines <- child$read_error_lines()
    ours <- startsWith(lines, "bgformer: ")
    for (line in lines[ours]) message(line)
    others <- utils::tail(c(others, lines[!ours]), 20)
  }
  child$wait()
  others[nzchar(trimws(others))]
}

# Why there is no answer, in one sentence.
died <- function(status, said, python) {
  needed <- process_requirements()
  report <- python_report(python, needed$name)
  if (is.null(report$version)) {
    return(paste0("Python at ", python, " cannot be run; choose another with reticulate::",
                  "use_python() in a new session, or run bgformer::install_bgformer()."))
  }
  problem <- python_sentence(python, report$version, report$packages, needed)
  if (!is.null(problem)) {
    return(problem)
  }
  how <- if (status < 0) {
    paste0("was ended by signal ", -status, if (status == -9) " (is there enough memory?)")
  } else {
    paste0("ended with status ", status)
  }
  last <- if (length(said) > 0) paste0(": ", trimws(said[length(said)]))
  paste0("the Python process of this run ", how, " before it had an answer", last,
         "; nothing was changed.")
}

# The process talks to R through files alone.
process_requirements <- function() {
  needed <- python_requirements(reticulate = "1.41")
  needed[!needed$name %in% c("anndata2ri", "rpy2"), ]
}

# The path of the Python that a run in this process would use.
python_path <- function() {
  path <- chosen_python()$path
  if (is.null(path)) { # reticulate has yet to make one, or says why there is none
    start_python()
    path <- reticulate::py_config()$python
  }
  path
}
