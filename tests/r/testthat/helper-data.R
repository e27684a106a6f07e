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

run <- function(object, ..., max_steps = 3, verbose = FALSE) {
  bgformer::RunBGFormer(object, ..., max_steps = max_steps, verbose = verbose)
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
