# Generated inputs and objects, given to every function of the R package.
#   Rscript tests/campaign/campaign.R [N] [SEED]     N: number of cases, 300 by default
# Prints how many cases ended how, and what each bad one was. Exits 1 if a case was wrong, crashed,
# hung, or ended in a raw traceback. The same seed gives the same cases.

arguments <- commandArgs(trailingOnly = TRUE)
given <- function(at, default) if (length(arguments) >= at) as.integer(arguments[at]) else default
n <- given(1, 300L)
seed <- given(2, 1L)
here <- dirname(sub("--file=", "", grep("^--file=", commandArgs(), value = TRUE)[1]))

classes <- c("works", "sentence", "foreign message", "raw traceback", "wrong", "crash", "hang")
bad <- setdiff(classes, c("works", "sentence"))
seconds <- 60 # of a case that hangs

# How an error ended a case. Ours have no call and one line.
class_of <- function(error) {
  said <- conditionMessage(error)
  if (inherits(error, "wrong")) {
    "wrong"
  } else if (grepl("Traceback|py_call|Python stopped with|\n", said)) {
    "raw traceback"
  } else if (is.null(conditionCall(error)) && !grepl("numpy|pandas|scipy|reticulate:", said)) {
    "sentence"
  } else {
    "foreign message"
  }
}

# Runs cases from `first` on, one line into `file` when each starts and when it ends.
run_cases <- function(first, file) {
  suppressPackageStartupMessages({
    library(bgformer)
    library(Matrix)
  })
  source(file.path(here, "cases.R"))
  made <- fitted_objects()
  note <- function(...) {
    line <- paste(encodeString(c(...)), collapse = "\t")
    cat(line, "\n", file = file, append = TRUE, sep = "")
  }
  for (number in seq(first, n)) {
    case <- case_of(seed, number, made)
    note(number, "started", case$what, "")
    ended <- tryCatch({
      case$try()
      c("works", "")
    }, error = function(e) c(class_of(e), conditionMessage(e)))
    note(number, ended[1], case$what, ended[2])
  }
}

# Watches a process that runs cases: the number of the last case, and how it ended if it did not.
watch <- function(first, file) {
  child <- processx::process$new(
    file.path(R.home("bin"), "Rscript"), c(file.path(here, "campaign.R"), n, seed, first, file),
    stdout = NULL, stderr = NULL, cleanup_tree = TRUE
  )
  repeat {
    child$wait(1000)
    quiet <- difftime(Sys.time(), file.mtime(file), units = "secs")
    if (!child$is_alive()) return("crash")
    if (quiet > seconds) {
      child$kill_tree()
      return("hang")
    }
  }
}

read_cases <- function(file) {
  utils::read.delim(file, header = FALSE, quote = "", comment.char = "", colClasses = "character",
                    col.names = c("number", "class", "what", "said"))
}

main <- function() {
  file <- tempfile()
  cat("", file = file)
  first <- 1
  started <- Sys.time()
  while (first <= n) {
    Sys.setFileTime(file, Sys.time())
    end <- watch(first, file)
    lines <- if (file.size(file) > 0) read_cases(file)
    reached <- if (is.null(lines)) 0 else as.integer(lines$number[nrow(lines)])
    if (reached < first) {
      stop("no case could be started; run tests/campaign/cases.R to see why.")
    }
    if (lines$class[nrow(lines)] == "started") {
      cat(paste(reached, end, lines$what[nrow(lines)], "", sep = "\t"), "\n", file = file,
          append = TRUE, sep = "")
    }
    first <- reached + 1
  }
  cases <- subset(read_cases(file), class != "started")
  for (at in which(cases$class %in% bad)) {
    cat(sprintf("%s: case %s: %s: %s\n", cases$class[at], cases$number[at], cases$what[at],
                cases$said[at]))
  }
  if (nzchar(Sys.getenv("CAMPAIGN_ALL"))) print(cases, right = FALSE)
  counts <- table(factor(cases$class, classes))
  cat(sprintf("\nR, %d cases of seed %d, %.0f s\n", n, seed,
              as.numeric(difftime(Sys.time(), started, units = "secs"))))
  print(data.frame(ended = names(counts), cases = as.vector(counts)), row.names = FALSE)
  quit(status = as.integer(any(counts[setdiff(bad, "foreign message")] > 0)))
}

if (length(arguments) > 2) run_cases(given(3), arguments[4]) else main()
