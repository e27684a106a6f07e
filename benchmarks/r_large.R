# Time outside training and memory of a run on large objects from R.
#   BGFORMER_DATA=FOLDER Rscript benchmarks/r_large.R [CASE ...]
# FOLDER holds pbmc3k.h5ad, the 2,638 labelled blood cells of benchmarks/accuracy.py. Each new cell
# is sampled from the sum of two cells with the same label. Some of the counts go to the 13,714
# genes. Some of the remaining counts go to copies of the 6,286 most frequent genes, under other
# names. The result has 20,000 genes with realistic counts and no duplicated cells. CASE is any of
#   seurat          50,000 cells in a Seurat object, in memory
#   seurat-process  the same with separate.process = TRUE
#   hdf5            100,000 cells in a SingleCellExperiment on HDF5
#   hdf5-process    the same with separate.process = TRUE
# Each case is a separate process, so that peak memory belongs to this case. Timing starts when the
# object exists. Before that, a run on 700 cells starts Python. With separate.process = TRUE,
# starting Python is part of the time.

suppressPackageStartupMessages({
  library(Matrix)
  library(bgformer)
})
folder <- Sys.getenv("BGFORMER_R_LARGE", file.path(dirname(tempdir()), "bgformer-r-large"))
cells_of <- c(seurat = 50000L, hdf5 = 100000L)
keep_of <- c(seurat = 0.28, hdf5 = 0.55) # gives 5 % and 7 % of non-zero values

real_cells <- function() {
  path <- file.path(Sys.getenv("BGFORMER_DATA"), "pbmc3k.h5ad")
  read <- function(name) as.vector(rhdf5::h5read(path, name))
  genes <- read("var/_index")
  labels <- read("obs/cell_type/codes")
  counts <- sparseMatrix(i = read("X/indices"), p = read("X/indptr"),
                         x = as.numeric(read("X/data")), index1 = FALSE, dims = c(length(genes), length(labels)),
                         dimnames = list(genes, NULL))
  list(counts = counts, label = labels)
}

dealt <- function(n, keep, n_genes = 20000L) {
  real <- real_cells()
  set.seed(1)
  again <- order(-rowSums(real$counts > 0))[seq_len(n_genes - nrow(real$counts))]
  of_label <- split(seq_along(real$label), real$label)
  blocks <- lapply(seq(1, n, by = 2000), function(from) {
    drawn <- sample(ncol(real$counts), min(2000, n - from + 1), TRUE)
    partner <- vapply(as.character(real$label[drawn]),
                      function(label) sample(of_label[[label]], 1), 1L)
    both <- real$counts[, drawn] + real$counts[, partner]
    kept <- both
    kept@x <- as.numeric(stats::rbinom(length(both@x), both@x, keep))
    rest <- both
    rest@x <- as.numeric(stats::rbinom(length(both@x), both@x - kept@x, keep))
    drop0(rbind(kept, rest[again, ]))
  })
  all <- function(what) unlist(lapply(blocks, what))
  methods::new("dgCMatrix", # cbind() would copy the first block once for each of the others
               x = all(function(block) block@x), i = all(function(block) block@i),
               p = c(0L, cumsum(all(function(block) diff(block@p)))), Dim = c(n_genes, n),
               Dimnames = list(c(rownames(real$counts), paste0(rownames(real$counts)[again], ".2")),
                               paste0("cell", seq_len(n))))
}

# Write the files with the counts once, in a separate process whose memory is not measured.
make <- function() {
  dir.create(folder, showWarnings = FALSE)
  for (kind in names(cells_of)) {
    file <- function(name) file.path(folder, paste0(kind, name))
    if (!file.exists(file("-size.rds"))) {
      counts <- dealt(cells_of[[kind]], keep_of[[kind]])
      if (kind == "seurat") {
        saveRDS(counts, file(".rds"), compress = FALSE)
      } else {
        write_hdf5(counts, file(".h5"))
      }
      size <- list(mb = as.numeric(utils::object.size(counts)) / 2^20,
                   density = length(counts@x) / prod(dim(counts)))
      saveRDS(size, file("-size.rds"))
    }
  }
}

# Like writeHDF5Array(), but faster: chunks of whole cells and little compression.
write_hdf5 <- function(counts, path) {
  unlink(path)
  rhdf5::h5createFile(path)
  rhdf5::h5createDataset(path, "counts", dim(counts), storage.mode = "integer", level = 1,
                         chunk = c(nrow(counts), 50))
  for (from in seq(1, ncol(counts), by = 1000)) {
    at <- from:min(from + 999, ncol(counts))
    block <- as.matrix(counts[, at])
    storage.mode(block) <- "integer"
    rhdf5::h5write(block, path, "counts", index = list(NULL, at))
  }
}

kind_of <- function(case) {
  if (startsWith(case, "seurat")) "seurat" else "hdf5"
}

object_of <- function(case) {
  file <- function(name) file.path(folder, name)
  if (kind_of(case) == "seurat") {
    return(suppressWarnings(SeuratObject::CreateSeuratObject(readRDS(file("seurat.rds")))))
  }
  counts <- HDF5Array::HDF5Array(file("hdf5.h5"), "counts", as.sparse = TRUE)
  dimnames(counts) <- list(paste0("gene", seq_len(nrow(counts))),
                           paste0("cell", seq_len(ncol(counts))))
  SingleCellExperiment::SingleCellExperiment(list(counts = counts))
}

in_mb <- function(name) {
  status <- readLines("/proc/self/status")
  as.numeric(gsub("[^0-9]", "", grep(paste0("^", name, ":"), status, value = TRUE))) / 1024
}

# Seconds of training: measured in Python in this process, or from the messages of another process.
timed_training <- function(separate, code) {
  if (!separate) {
    RunBGFormer(readRDS(system.file("extdata", "pbmc700.rds", package = "bgformer"))$counts,
                max_steps = 2, verbose = FALSE)
    reticulate::py_run_string("
import time
from bgformer.pipeline import training
from bgformer.r import bridge
seconds = {}
def timed(name, function):
    def run(*args, **kwargs):
        start = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            seconds[name] = seconds.get(name, 0) + time.perf_counter() - start
    return run
for name in 'network_for', 'calibrate', 'set_tokens', 'train', 'centres', 'profiles':
    setattr(training, name, timed(name, getattr(training, name)))
bridge.fit_model = timed('fit', bridge.fit_model)
")
  }
  at <- numeric()
  invisible(gc(reset = TRUE))
  cat("5", file = "/proc/self/clear_refs") # the peak counts from here
  before <- c(rss = in_mb("VmRSS"), r = sum(gc()[, 2]))
  start <- proc.time()
  withCallingHandlers(code, message = function(m) {
    at[sub("^bgformer: ", "", conditionMessage(m))] <<- proc.time()[3]
  })
  took <- proc.time() - start
  used <- gc()
  list(
    seconds = took[[3]],
    train = if (separate) {
      at[grepl("^step 50/50", names(at))][[1]] - at[grepl("anchors,", names(at))][[1]]
    } else {
      reticulate::py$seconds$train
    },
    model = if (!separate) sum(unlist(reticulate::py$seconds[names(reticulate::py$seconds) != "fit"])),
    fit = if (!separate) reticulate::py$seconds$fit,
    extra_mb = in_mb("VmHWM") - before[["rss"]], peak_mb = in_mb("VmHWM"),
    extra_r_mb = sum(used[, ncol(used)]) - before[["r"]]
  )
}

measure <- function(case) {
  object <- object_of(case)
  matrix <- readRDS(file.path(folder, paste0(kind_of(case), "-size.rds")))
  separate <- endsWith(case, "-process")
  found <- timed_training(separate, object <- RunBGFormer(object, separate.process = separate))
  cat(sprintf(paste0(
    "%s: %d cells x %d genes, %.1f %% of values not 0, matrix %.0f MB; %.1f s, training steps ",
    "%.1f s%s; process's peak %.0f MB, %.0f MB more than before (%.2f x the matrix), ",
    "R's own %.0f MB more; %d clusters\n"
  ), case, ncol(object), nrow(object), 100 * matrix$density, matrix$mb, found$seconds, found$train,
  if (!separate) {
    sprintf(", making the model %.1f s with these, outside %.1f s (R and the way to Python %.1f s)",
            found$model, found$seconds - found$model, found$seconds - found$fit)
  } else {
    ""
  },
  found$peak_mb, found$extra_mb, found$extra_mb / matrix$mb, found$extra_r_mb,
  nlevels(object$bgformer_clusters)))
}

cases <- commandArgs(trailingOnly = TRUE)
if (length(cases) == 0) cases <- c("seurat", "seurat-process", "hdf5", "hdf5-process")
script <- sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE))
again <- function(...) {
  stopifnot(system2(file.path(R.home("bin"), "Rscript"), shQuote(c(script, ...))) == 0)
}
if (cases[1] == "make") {
  make()
} else if (cases[1] == "measure") {
  measure(cases[2])
} else {
  again("make")
  for (case in cases) again("measure", case)
}
