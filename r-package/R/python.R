# Finds, starts and checks Python. Nothing here runs before the first call that needs Python.

environment_name <- "r-bgformer"

# Holds `bridge`, bgformer.r.bridge once it is loaded; `warn`, the option of whoever called Python;
# and `left`, the message at which R code wanted to leave a run.
session <- new.env(parent = emptyenv())

# The part of pyproject.toml that says what Python must have. It comes with this package, because it
# is needed before there is a Python to ask.
pyproject <- function() {
  path <- system.file("pyproject.toml", package = "bgformer", mustWork = TRUE)
  text <- paste(readLines(path), collapse = " ")
  sub("\\[project\\.scripts\\].*", "", sub(".*\\[project\\]", "", text))
}

# What Python must have, within what this R and this reticulate can use.
python_requirements <- function(r = getRversion(),
                                reticulate = utils::packageVersion("reticulate")) {
  text <- pyproject()
  declared <- regmatches(text, gregexpr('(?<=")[a-z0-9-]+>=[0-9.]+(?=")', text, perl = TRUE))[[1]]
  needed <- data.frame(name = sub(">=.*", "", declared), least = sub(".*>=", "", declared),
                       below = NA_character_, why = NA_character_)
  limit <- function(name, below, why) {
    needed[needed$name == name, c("below", "why")] <<- list(below, why)
  }
  if (r < "4.5") {
    limit("rpy2", "3.6", paste("with R", r))
  }
  if (reticulate < "1.41") {
    limit("numpy", "2", paste("with reticulate", reticulate))
  }
  needed
}

oldest_python <- function() {
  sub('.*requires-python = ">=([0-9.]+)".*', "\\1", pyproject())
}

# As pip writes them: "numpy>=1.24,<2".
pip_requirements <- function(needed = python_requirements()) {
  paste0(needed$name, ">=", needed$least,
         ifelse(is.na(needed$below), "", paste0(",<", needed$below)))
}

# What is wrong with a Python: one phrase per problem; none where all is well.
# `have` gives a version, or NA, for each package.
python_problems <- function(python_version, have, needed = python_requirements()) {
  problems <- character()
  if (version_number(python_version) < oldest_python()) {
    problems <- sprintf("is version %s, not %s or later", python_version, oldest_python())
  }
  have <- have[needed$name]
  if (anyNA(have)) {
    problems <- c(problems, paste("lacks", paste(needed$name[is.na(have)], collapse = ", ")))
  }
  c(problems, unlist(Map(version_problem, needed$name, have, needed$least, needed$below,
                         needed$why), use.names = FALSE))
}

version_problem <- function(name, have, least, below, why) {
  if (is.na(have)) {
    return(NULL)
  }
  if (version_number(have) < least) {
    return(sprintf("has %s %s where %s or later is needed", name, have, least))
  }
  if (!is.na(below) && version_number(have) >= below) {
    return(sprintf("has %s %s where one below %s is needed %s", name, have, below, why))
  }
  NULL
}

# "2.13.0+cpu" and "2.0.0rc1" without what numeric_version() cannot read.
version_number <- function(version) {
  numeric_version(sub("[^0-9.].*$", "", version))
}

# The command that fixes a Python; for one that is too old, the one that makes another.
fix_command <- function(python, python_version, have, needed = python_requirements()) {
  if (version_number(python_version) < oldest_python()) {
    return("bgformer::install_bgformer()")
  }
  wrong <- vapply(needed$name, function(name) {
    length(python_problems(python_version, have, needed[needed$name == name, ])) > 0
  }, logical(1))
  paste(shQuote(python), "-m pip install",
        paste(shQuote(pip_requirements(needed)[wrong]), collapse = " "))
}

python_sentence <- function(python, python_version, have, needed = python_requirements()) {
  problems <- python_problems(python_version, have, needed)
  if (length(problems) == 0) {
    return(NULL)
  }
  sprintf("Python at %s %s; run %s and restart R.", python, paste(problems, collapse = " and "),
          fix_command(python, python_version, have, needed))
}

# Which Python is or would be used: its path (NULL if there is none yet) and who chose it.
chosen_python <- function() {
  if (reticulate::py_available()) {
    return(list(path = reticulate::py_config()$python, by = "running in this session"))
  }
  for (variable in c("RETICULATE_PYTHON", "RETICULATE_PYTHON_ENV")) {
    if (nzchar(Sys.getenv(variable))) {
      return(list(path = discovered(), by = variable))
    }
  }
  # reticulate has no public way to ask whether use_python() was called
  state <- get0(".globals", asNamespace("reticulate"))
  if (!is.null(state$required_python_version)) {
    return(list(path = discovered(), by = "reticulate::use_python()"))
  }
  if (reticulate::virtualenv_exists(environment_name)) {
    return(list(path = reticulate::virtualenv_python(environment_name),
                by = paste0("virtual environment '", environment_name, "'")))
  }
  list(path = NULL, by = if (can_require()) "reticulate::py_require()")
}

discovered <- function() {
  tryCatch(reticulate::py_discover_config()$python, error = function(e) NULL)
}

# Since 1.41 reticulate makes an environment by itself from what packages say they need.
can_require <- function() {
  "py_require" %in% getNamespaceExports("reticulate")
}

# The module bgformer.r.bridge, in a Python that has been checked.
python_bridge <- function() {
  if (is.null(session$bridge)) {
    start_python()
    check_python()
    # an interrupt in reticulate's import can end the process
    session$bridge <- suspendInterrupts(load_bridge())
  }
  session$bridge
}

start_python <- function() {
  if (reticulate::py_available()) {
    return(invisible())
  }
  chosen <- chosen_python()
  if (is.null(chosen$by)) {
    stop("bgformer has no Python to run in; run bgformer::install_bgformer() once, or choose one ",
         "with reticulate::use_python().", call. = FALSE)
  }
  if (grepl(environment_name, chosen$by, fixed = TRUE)) {
    reticulate::use_virtualenv(environment_name, required = TRUE)
  } else if (can_require()) {
    getExportedValue("reticulate", "py_require")(
      packages = pip_requirements(), python_version = paste0(">=", oldest_python())
    )
  }
  tryCatch(
    reticulate::py_config(),
    error = function(e) {
      stop("Python could not be started (", first_line(e), "); choose another with ",
           "reticulate::use_python() in a new session, or run bgformer::install_bgformer().",
           call. = FALSE)
    }
  )
}

check_python <- function() {
  config <- reticulate::py_config()
  metadata <- reticulate::import("importlib.metadata", delay_load = FALSE)
  have <- vapply(python_requirements()$name, function(name) {
    tryCatch(metadata$version(name), error = function(e) NA_character_)
  }, character(1))
  sentence <- python_sentence(config$python, as.character(config$version), have)
  if (!is.null(sentence)) {
    stop(sentence, call. = FALSE)
  }
}

load_bridge <- function() {
  sys <- reticulate::import("sys", convert = FALSE)
  source <- system.file("python", package = "bgformer", mustWork = TRUE)
  sys$path$insert(0L, source) # the Python source that belongs to this package, before any other
  load_torch() # before anything that brings another OpenMP runtime: two of them end the process
  version <- load_module("bgformer")$`__version__`
  if (version != as.character(utils::packageVersion("bgformer"))) {
    stop("Python's bgformer ", version, " is loaded already, and this R package is version ",
         utils::packageVersion("bgformer"), "; restart R.", call. = FALSE)
  }
  load_module("bgformer.r.session")$show_lines_with(show_line)
  # igraph loads matplotlib, which logs where it keeps its fonts; R draws nothing with it
  matplotlib <- reticulate::import("logging")$getLogger("matplotlib")
  level <- matplotlib$level
  matplotlib$setLevel("ERROR")
  on.exit(matplotlib$setLevel(level))
  load_module("bgformer.r.bridge")
}

load_module <- function(name) {
  tryCatch(
    reticulate::import(name, delay_load = FALSE),
    error = function(e) {
      stop("Python at ", reticulate::py_config()$python, " could not load ", name, " (",
           first_line(e), "); see bgformer_sitrep().", call. = FALSE)
    }
  )
}

# R's BLAS has the same symbols as the one inside torch, and on Linux the first that was loaded
# wins: torch would multiply matrices with R's, which is many times slower where that is the
# reference BLAS, and rounds otherwise than in Python. RTLD_DEEPBIND lets torch see its own first.
load_torch <- function() {
  sys <- reticulate::import("sys")
  os <- reticulate::import("os")
  if (!reticulate::py_has_attr(os, "RTLD_DEEPBIND")) { # macOS and Windows keep them apart
    load_module("torch")
    return()
  }
  if ("torch" %in% names(sys$modules)) {
    warning("Python's torch was loaded before bgformer, so it may be slow and its results may ",
            "differ slightly from Python's; call RunBGFormer() first in a new session.",
            call. = FALSE)
  }
  flags <- sys$getdlopenflags()
  sys$setdlopenflags(bitwOr(flags, os$RTLD_DEEPBIND))
  on.exit(sys$setdlopenflags(flags))
  load_module("torch")
}

# Shows a line of Python's as a message, and says whether Python is to go on. A handler of this
# message may leave for anywhere, as one of tryCatch() does. That would jump over Python's frames,
# which can end the process. So return() stops the jump here, and leave() repeats it once Python has
# stopped.
show_line <- function(line) {
  said <- simpleMessage(paste0(line, "\n"))
  old <- options(warn = session$warn) # whoever handles the message may warn
  on.exit({
    options(old)
    session$left <- said
    return(FALSE)
  })
  message(said)
  on.exit(options(old))
  TRUE
}

# Leaves a run as R code wanted to in show_line(), if it did.
leave <- function(left) {
  if (!is.null(left)) {
    message(left) # its handler leaves, unless it decides otherwise this time
    stop("the run was stopped while it showed the message '", trimws(conditionMessage(left)), "'.",
         call. = FALSE)
  }
}

# Lets `ask` call one function of bgformer.r.bridge; its lines become R's messages, and its errors
# and warnings R's.
ask_python <- function(ask) {
  bridge <- python_bridge()
  # R's collector must not find dead Python objects while rpy2 calls R, because rpy2 lets go of
  # Python's lock for that, and freeing one without the lock ends the process
  gc(verbose = FALSE)
  # rpy2 loads R packages in its own way, and R warns about its library paths each time
  old <- options(warn = -1)
  session$warn <- old$warn
  on.exit({
    options(old)
    session$left <- NULL
  })
  answer <- ask(bridge)
  options(old)
  leave(session$left)
  told(answer)
}

# What Python returned, once its error or its interrupt is R's, and its warnings too.
told <- function(answer) {
  if (answer$interrupted) {
    signalCondition(structure(list(), class = c("interrupt", "condition")))
    invokeRestart("abort") # nobody caught it: back to the prompt, or the end of a script
  }
  if (!is.null(answer$error)) {
    stop(errorCondition(answer$error, class = "bgformer_error", code = answer$code))
  }
  for (sentence in answer$warnings) {
    warning(sentence, call. = FALSE)
  }
  answer
}

first_line <- function(condition) {
  trimws(strsplit(conditionMessage(condition), "\n", fixed = TRUE)[[1]][1])
}
