skip_if_not_installed("ggplot2")
skip_if_not_installed("ggrepel")

drawn_at <- function(object, ...) {
  plot <- bgformer::BGFormerPlot(object, label = FALSE, ...)
  sort(ggplot2::ggplot_build(plot)$data[[1]]$x)
}
embeddings <- function(object, name = "bgformer_umap") {
  sort(unname(Seurat::Embeddings(object, name)[, 1]))
}
first_axis <- "^Latent principal axis 1 "

object <- run(seurat_object(), max_steps = 20)
with_ours <- RunBGFormerUMAP(object)

test_that("a Seurat object is drawn in its UMAP, and Seurat finds it", {
  umap <- Seurat::Embeddings(with_ours, "bgformer_umap")
  expect_identical(dimnames(umap), list(colnames(object), c("BGFUMAP_1", "BGFUMAP_2")))
  expect_identical(SeuratObject::Key(with_ours[["bgformer_umap"]]), "BGFUMAP_")
  expect_identical(BGFormerPlot(with_ours)$labels$x, "UMAP 1")
  expect_identical(drawn_at(with_ours), embeddings(with_ours))
  expect_s3_class(Seurat::DimPlot(with_ours, reduction = "bgformer_umap"), "ggplot")
  expect_true(any(grepl("^RunBGFormerUMAP", SeuratObject::Command(with_ours))))
  # the same twice, also of a subset's own cells
  expect_identical(embeddings(RunBGFormerUMAP(with_ours)), embeddings(with_ours))
  some <- with_ours[, 1:100]
  expect_identical(drawn_at(some), sort(unname(umap[1:100, 1])))
  expect_length(embeddings(RunBGFormerUMAP(some)), 100)
  expect_identical(drawn_at(ReclusterBGFormer(with_ours, n.clusters = 3)), embeddings(with_ours))
})

test_that("a UMAP that Seurat made from the results comes first, and a name before both", {
  both <- suppressWarnings(
    Seurat::RunUMAP(object, reduction = "bgformer", dims = 1:10, verbose = FALSE)
  )
  both <- RunBGFormerUMAP(both)
  expect_identical(drawn_at(both), embeddings(both, "umap"))
  expect_identical(drawn_at(both, reduction = "bgformer_umap"), embeddings(both))
})

test_that("clustering again removes the UMAP of before", {
  again <- run(with_ours, max_steps = 5)
  expect_false("bgformer_umap" %in% SeuratObject::Reductions(again))
  expect_match(BGFormerPlot(again)$labels$x, first_axis)
  sce <- RunBGFormerUMAP(run(sce_object()))
  expect_identical(BGFormerPlot(sce)$labels$x, "UMAP 1")
  sce <- run(sce, max_steps = 5)
  expect_identical(SingleCellExperiment::reducedDimNames(sce), "BGFORMER")
  list <- RunBGFormerUMAP(run(counts))
  expect_identical(drawn_at(list), sort(unname(list$umap[, 1])))
  expect_identical(rownames(list$umap), colnames(counts))
  # what the user put in its place stays, and is not taken for it
  with_ours[["bgformer_umap"]] <- SeuratObject::CreateDimReducObject(
    matrix(1, ncol(object), 2, dimnames = list(colnames(object), c("MINE_1", "MINE_2"))),
    key = "MINE_", assay = "RNA"
  )
  expect_match(BGFormerPlot(with_ours)$labels$x, first_axis)
  expect_true("bgformer_umap" %in% SeuratObject::Reductions(run(with_ours)))
})

test_that("another name moves it", {
  moved <- RunBGFormerUMAP(with_ours, reduction.name = "plane")
  expect_identical(SeuratObject::Reductions(moved), c("bgformer", "plane"))
  expect_identical(drawn_at(moved), embeddings(with_ours))
})

test_that("what cannot be done is said", {
  expect_match(error_of(RunBGFormerUMAP(seurat_object())), "call RunBGFormer\\(\\) first")
  expect_match(error_of(RunBGFormerUMAP(counts)), "RunBGFormerUMAP\\(\\) takes what RunBGFormer")
  expect_match(error_of(RunBGFormerUMAP(object, reduction.name = "bgformer")),
               "is the reduction with the latent space")
  expect_match(error_of(RunBGFormerUMAP(object, reduction.name = "RNA")), "name of an assay")
  expect_match(error_of(RunBGFormerUMAP(object, dims = 1:5)), "unknown argument .dims.")
  pca <- object
  pca[["pca"]] <- SeuratObject::CreateDimReducObject(
    matrix(1, ncol(object), 2, dimnames = list(colnames(object), c("PC_1", "PC_2"))),
    key = "PC_", assay = "RNA"
  )
  expect_match(error_of(RunBGFormerUMAP(pca, reduction.name = "pca")),
               "would write over the reduction 'pca', which is not from bgformer")
})
