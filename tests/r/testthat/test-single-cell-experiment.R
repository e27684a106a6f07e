before <- sce_object()
after <- run(before)

test_that("results are in colData, reducedDim and metadata", {
  expect_s3_class(after$bgformer_clusters, "factor")
  expect_true(all(after$bgformer_confidence >= 0 & after$bgformer_confidence <= 1))
  latent <- SingleCellExperiment::reducedDim(after, "BGFORMER")
  expect_identical(rownames(latent), colnames(counts))
  expect_identical(colnames(latent)[1], "BGF_1")
  kept <- S4Vectors::metadata(after)$bgformer
  expect_identical(dim(kept$weights), c(ncol(counts), nrow(kept$anchors)))
})

test_that("labels are those of the same counts in a Seurat object", {
  object <- run(seurat_object())
  expect_identical(after$bgformer_clusters, unname(object$bgformer_clusters))
  expect_equal(SingleCellExperiment::reducedDim(after, "BGFORMER"),
               Seurat::Embeddings(object, "bgformer"), tolerance = 1e-5)
})

test_that("counts, other columns and other reductions stay as they were", {
  expect_identical(SingleCellExperiment::counts(after), SingleCellExperiment::counts(before))
  expect_identical(after$donor, before$donor)
})

test_that("another assay can hold the counts, and cells need no names", {
  other <- before
  SummarizedExperiment::assayNames(other) <- "umi"
  colnames(other) <- NULL
  by_layer <- run(other, layer = "umi")
  by_assay <- run(other, assay = "umi")
  expect_identical(by_layer$bgformer_clusters, after$bgformer_clusters)
  expect_identical(by_assay$bgformer_clusters, after$bgformer_clusters)
  again <- ReclusterBGFormer(by_layer)
  expect_identical(again$bgformer_clusters, after$bgformer_clusters)
})

test_that("a batch column is used", {
  batched <- run(before, batch.var = "donor")
  expect_false(isTRUE(all.equal(SingleCellExperiment::reducedDim(batched, "BGFORMER"),
                                SingleCellExperiment::reducedDim(after, "BGFORMER"))))
})

test_that("of two objects side by side no model is used, and a new run replaces both", {
  other <- after
  colnames(other) <- paste0(colnames(other), "_b")
  both <- SummarizedExperiment::cbind(after, other)
  expect_match(error_of(ReclusterBGFormer(both)), "several bgformer models, as after cbind(); call",
               fixed = TRUE)
  expect_match(error_of(PredictBGFormer(counts, both)), "reference has several bgformer models",
               fixed = TRUE)
  again <- run(both)
  expect_identical(nrow(ReclusterBGFormer(again)), nrow(after))
  expect_identical(sum(names(S4Vectors::metadata(again)) == "bgformer"), 1L)
})
