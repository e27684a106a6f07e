# Counts that are not in memory: HDF5, written from the cells that the package ships.

skip_if_not_installed("HDF5Array")

on_disk <- function(matrix, ...) {
  HDF5Array::writeHDF5Array(matrix, tempfile(fileext = ".h5"), "counts", with.dimnames = TRUE, ...)
}

# So many more genes without counts that the cells are read in several blocks.
many_genes <- function(matrix) {
  nothing <- Matrix::sparseMatrix(NULL, NULL, x = numeric(), dims = c(300000L, ncol(matrix)),
                                  dimnames = list(paste0("none", 1:300000), NULL))
  DelayedArray::arbind(on_disk(matrix), DelayedArray::DelayedArray(nothing))
}

nothing_left <- function() {
  testthat::expect_identical(list.files(tempdir(), "^bgformer-"), character())
}

in_memory <- run(counts, max_steps = 20)
hdf5 <- on_disk(counts)
wide <- many_genes(counts)

test_that("a matrix on disk gives exactly what it gives in memory, in one block or several", {
  expect_s4_class(hdf5, "HDF5Matrix")
  expect_identical(run(hdf5, max_steps = 20), in_memory)
  dense <- on_disk(as.matrix(counts), chunkdim = c(50, 30))
  expect_identical(run(dense, max_steps = 20), in_memory)
  expect_lt(get("cells_per_block", asNamespace("bgformer"))(wide), ncol(wide) / 2)
  expect_identical(run(wide, max_steps = 20), in_memory)
  expect_identical(run(hdf5 * 2, max_steps = 20)$clusters, # operations are still to be done
                   run(counts * 2, max_steps = 20)$clusters)
  nothing_left()
})

test_that("a SingleCellExperiment on disk stays there, with all that it has", {
  before <- SingleCellExperiment::SingleCellExperiment(
    list(counts = hdf5), colData = S4Vectors::DataFrame(donor = sce_object()$donor)
  )
  SingleCellExperiment::altExp(before, "ADT") <- SummarizedExperiment::SummarizedExperiment(
    list(counts = hdf5[1:5, ])
  )
  after <- run(before, max_steps = 20)
  expect_identical(setNames(after$bgformer_clusters, colnames(after)), in_memory$clusters)
  expect_identical(SingleCellExperiment::reducedDim(after, "BGFORMER"), in_memory$embedding)
  expect_identical(SingleCellExperiment::counts(after), SingleCellExperiment::counts(before))
  expect_identical(SingleCellExperiment::altExp(after), SingleCellExperiment::altExp(before))
  expect_identical(
    SingleCellExperiment::reducedDim(run(before, batch.var = "donor"), "BGFORMER"),
    SingleCellExperiment::reducedDim(run(sce_object(), batch.var = "donor"), "BGFORMER")
  )
})

test_that("features are cut from a matrix on disk, in the order given, and names may be missing", {
  genes <- sample(rownames(counts), 200)
  expect_identical(run(wide, features = genes), run(counts, features = genes))
  unnamed <- hdf5
  dimnames(unnamed) <- list(NULL, NULL)
  expect_identical(run(unnamed), run(unname(counts)))
  expect_match(error_of(run(hdf5, features = c("NKG7", "nkg7"))),
               "1 of 2 features are not genes of the matrix ('nkg7')", fixed = TRUE)
})

test_that("what is wrong on disk is said as it is of a matrix in memory", {
  last <- counts
  last@x[length(last@x)] <- -1
  empty <- counts
  empty[, c(5, 200)] <- 0
  text <- colnames(counts)
  text[2] <- text[1]
  duplicated <- counts
  colnames(duplicated) <- text
  cases <- list(last, empty, log1p(counts), counts[, 1:5])
  for (case in cases) {
    expect_identical(error_of(run(many_genes(case))), error_of(run(case)))
  }
  colnames(hdf5) <- text
  expect_identical(error_of(run(hdf5)), error_of(run(duplicated)))
  expect_identical(error_of(run(hdf5[0, ])), error_of(run(duplicated[0, ])))
  sce <- SingleCellExperiment::SingleCellExperiment(
    list(counts = on_disk(counts), logcounts = on_disk(log1p(counts)))
  )
  expect_match(error_of(run(sce, layer = "logcounts")),
               "assay 'counts' looks like counts: use layer = \"counts\"", fixed = TRUE)
  nothing_left()
})

test_that("a file that is gone is said to be", {
  lost <- on_disk(counts)
  unlink(DelayedArray::path(lost))
  expect_match(error_of(run(lost)), "the matrix, of class 'HDF5Matrix', cannot be read \\(file ")
  nothing_left()
})
