# Many conversions and short runs in one R process, to check for crashes and memory leaks.
#   Rscript benchmarks/r_stress.R [N]      N: number of runs, 200 by default
# Prints the memory of R and of the process in MB at the start, after 20 runs, every 50 runs, and at
# the end, and how much both grew after run 20.

arguments <- commandArgs(trailingOnly = TRUE)
n <- if (length(arguments) > 0) as.integer(arguments[1]) else 200L
suppressPackageStartupMessages({
  library(SeuratObject)
  library(bgformer)
})

process_mb <- function() {
  status <- readLines(file.path("/proc", Sys.getpid(), "status"))
  as.numeric(gsub("[^0-9]", "", grep("^VmRSS", status, value = TRUE))) / 1024
}
report <- function(run, started) {
  in_r <- sum(gc()[, 2])
  cat(sprintf("run %3d: R %.1f MB, process %.0f MB, %.1f s\n", run, in_r, process_mb(),
              as.numeric(difftime(Sys.time(), started, units = "secs"))))
  c(in_r, process_mb())
}

pbmc <- readRDS(system.file("extdata", "pbmc700.rds", package = "bgformer"))
object <- CreateSeuratObject(pbmc$counts)
started <- Sys.time()
invisible(report(0L, started))
for (run in seq_len(n)) {
  # objects for R's garbage collector, which refer to Python objects
  garbage <- lapply(1:20, function(i) reticulate::r_to_py(rnorm(1000)))
  cells <- sample(ncol(object), 300)
  short <- RunBGFormer(object[, cells], max_steps = 2, n_anchors = 30, seed.use = run,
                       verbose = FALSE)
  stopifnot(identical(colnames(short), colnames(object[, cells])), !anyNA(short$bgformer_clusters))
  short <- ReclusterBGFormer(short, resolution = 1)
  if (run == min(n, 20L)) {
    early <- report(run, started)
  } else if (run %% 50 == 0 && run < n) {
    invisible(report(run, started))
  }
}
late <- report(n, started)
grown <- late - early
cat(sprintf("%d runs, no crash; after run %d R's memory grew by %.1f MB and the process by %.0f MB\n",
            n, min(n, 20L), grown[1], grown[2]))
