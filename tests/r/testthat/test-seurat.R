object <- run(seurat_object())

test_that("clusters, confidence and identities are where Seurat users look", {
  clusters <- object$bgformer_clusters
  expect_s3_class(clusters, "factor")
  expect_named(clusters, colnames(counts))
  expect_identical(levels(clusters), as.character(seq_len(nlevels(clusters)) - 1))
  expect_false(is.unsorted(rev(table(clusters)))) # "0" is the largest
  expect_identical(Seurat::Idents(object), clusters)
  expect_true(all(object$bgformer_confidence >= 0 & object$bgformer_confidence <= 1))
})

test_that("the latent space is a reduction of the assay the counts came from", {
  reduction <- object[["bgformer"]]
  expect_identical(Seurat::Key(reduction), "BGF_")
  expect_identical(Seurat::DefaultAssay(reduction), "RNA")
  embedding <- Seurat::Embeddings(object, "bgformer")
  expect_identical(rownames(embedding), colnames(counts))
  expect_identical(colnames(embedding), paste0("BGF_", seq_len(ncol(embedding))))
  expect_false(anyNA(embedding))
})

test_that("anchors, weights and parameters are in Tool() and the command is logged", {
  kept <- Seurat::Tool(object, "RunBGFormer")
  expect_s4_class(kept$weights, "dgCMatrix")
  expect_identical(rownames(kept$weights), colnames(counts))
  expect_equal(unname(Matrix::rowSums(kept$weights)), rep(1, ncol(counts)), tolerance = 1e-6)
  expect_identical(ncol(kept$weights), nrow(kept$anchors))
  expect_identical(nrow(kept$anchors), length(kept$anchor.clusters))
  expect_identical(levels(kept$anchor.clusters), levels(object$bgformer_clusters))
  expect_identical(kept$params$max_steps, 3L)
  expect_identical(kept$seed, 0L)
  expect_length(kept$history$loss, 3)
  expect_true("RunBGFormer.RNA" %in% Seurat::Command(object))
  expect_identical(Seurat::Command(object, "RunBGFormer.RNA", "seed.use"), 0L)
})

test_that("nothing else of the object is changed", {
  before <- seurat_object()
  expect_identical(object@assays, before@assays)
  expect_identical(object[[]][names(before[[]])], before[[]])
})

test_that("names, features, batch and the number of clusters are the caller's", {
  genes <- rownames(counts)[1:200]
  named <- run(seurat_object(), features = genes, n.clusters = 3, batch.var = "donor",
               reduction.name = "latent", reduction.key = "LAT_", cluster.name = "type_clusters",
               n_latent = 8)
  expect_identical(nlevels(named$type_clusters), 3L)
  expect_true("type_confidence" %in% colnames(named[[]]))
  expect_identical(colnames(named[["latent"]]), paste0("LAT_", 1:8))
  expect_true(all(Seurat::Tool(named, "RunBGFormer")$genes %in% genes))
  expect_false("bgformer_clusters" %in% colnames(named[[]]))
})

test_that("after SCTransform the counts come from RNA, and the message says so", {
  transformed <- suppressWarnings(Seurat::SCTransform(seurat_object(), verbose = FALSE))
  expect_identical(Seurat::DefaultAssay(transformed), "SCT")
  expect_message(
    after <- run(transformed, verbose = TRUE),
    "default assay 'SCT' holds no raw counts: taking them from assay 'RNA'", fixed = TRUE
  )
  expect_identical(after$bgformer_clusters, object$bgformer_clusters)
  expect_identical(Seurat::DefaultAssay(after[["bgformer"]]), "RNA")
  expect_identical(Seurat::DefaultAssay(after), "SCT")
})

test_that("a default assay without counts, as after integration, gives way to RNA", {
  integrated <- seurat_object()
  integrated[["integrated"]] <- suppressWarnings(Seurat::CreateAssayObject(data = log1p(counts)))
  Seurat::DefaultAssay(integrated) <- "integrated"
  expect_message(after <- run(integrated, verbose = TRUE), "taking them from assay 'RNA'")
  expect_identical(after$bgformer_clusters, object$bgformer_clusters)
})
