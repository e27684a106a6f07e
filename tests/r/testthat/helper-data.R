# Real cells, few training steps: what is tested is the door, not how well it clusters.

blood <- readRDS(system.file("extdata", "pbmc700.rds", package = "bgformer"))
counts <- blood$counts[, seq(1, 700, by = 3)]

# Of a matrix, or of an assay of Seurat's own.
seurat_object <- function(matrix = counts) {
  object <- suppressWarnings(Seurat::CreateSeuratObject(matrix))
  object$donor <- rep(c("a", "b"), length.out = ncol(matrix))
  object
}

# What SeuratObject 4 does not have: assays whose layers are split by a column.
seurat5 <- utils::packageVersion("SeuratObject") >= "5"

split_object <- function() {
  object <- seurat_object()
  object[["RNA"]] <- split(object[["RNA"]], f = object$donor)
  object
}

sce_object <- function(matrix = counts) {
  SingleCellExperiment::SingleCellExperiment(
    assays = list(counts = matrix),
    colData = S4Vectors::DataFrame(donor = rep(c("a", "b"), length.out = ncol(matrix)))
  )
}

# One type of cells, in which two programmes of genes vary.
one_type <- function() {
  set.seed(1)
  programmes <- exp(matrix(rnorm(400 * 2), 400) %*% matrix(rnorm(2 * 200, sd = 0.4), 2))
  mean <- sweep(programmes, 2, rgamma(200, 0.6, 0.5) + 0.01, "*")
  cells <- t(matrix(rnbinom(length(mean), mu = mean, size = 5), 400))
  dimnames(cells) <- list(paste0("gene", 1:200), paste0("cell", 1:400))
  cells[, colSums(cells) > 0]
}

run <- function(object, ..., max_steps = 3, verbose = FALSE) {
  bgformer::RunBGFormer(object, ..., max_steps = max_steps, verbose = verbose)
}

# With progress. At a resolution, because so few steps can give one cluster, which is warned of.
run_talking <- function(counts, ...) {
  run(counts, max_steps = 2, n_anchors = 40, resolution = 0.8, verbose = TRUE, ...)
}

# The message of the one error that a call ends in.
error_of <- function(call) {
  caught <- tryCatch(call, error = identity)
  testthat::expect_s3_class(caught, "error")
  testthat::expect_null(conditionCall(caught)) # "Error: ...", without the call of an inner function
  message <- conditionMessage(caught)
  testthat::expect_false(grepl("\n", message))
  message
}

# The table of evidence in `results` is of the cells in `clusters`.
expect_evidence <- function(results, clusters) {
  table <- results$evidence
  testthat::expect_s3_class(table, "data.frame")
  testthat::expect_named(table, c("cluster", "n_cells", "nearest", "links", "gap", "gap_p",
                                  "n_markers", "markers"))
  testthat::expect_identical(table$cluster, levels(clusters))
  testthat::expect_identical(table$n_cells, as.vector(table(clusters)))
  testthat::expect_true(all(table$nearest %in% table$cluster & table$nearest != table$cluster))
  testthat::expect_true(all(table$links >= 0 & table$links <= 1))
  testthat::expect_type(table$n_markers, "integer")
  testthat::expect_type(table$markers, "character")
}

# Without the check that `@<-` makes.
replace_slot <- function(object, name, value) {
  attr(object, name) <- value
  object
}
