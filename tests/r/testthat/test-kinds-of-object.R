# Whatever a Seurat object holds besides its counts: all cells are clustered, all else is kept.

test_that("reductions, graphs, commands, variable features and columns are kept", {
  before <- seurat_object()
  before$donor <- factor(before$donor, levels = c("b", "none", "a"))
  before <- Seurat::NormalizeData(before, verbose = FALSE)
  before <- Seurat::FindVariableFeatures(before, nfeatures = 200, verbose = FALSE)
  before <- Seurat::ScaleData(before, verbose = FALSE)
  before <- suppressWarnings(Seurat::RunPCA(before, npcs = 10, verbose = FALSE))
  before <- Seurat::FindNeighbors(before, dims = 1:10, verbose = FALSE)
  after <- ReclusterBGFormer(run(before), n.clusters = 3)
  expect_identical(after@assays, before@assays)
  expect_identical(after[["pca"]], before[["pca"]])
  expect_setequal(Seurat::Reductions(after), c("pca", "bgformer"))
  expect_identical(after@graphs, before@graphs)
  expect_identical(after[[]][names(before[[]])], before[[]])
  expect_identical(levels(after$donor), c("b", "none", "a"))
  expect_identical(Seurat::VariableFeatures(after), Seurat::VariableFeatures(before))
  expect_identical(after@commands[names(before@commands)], before@commands)
  expect_setequal(setdiff(Seurat::Command(after), Seurat::Command(before)),
                  c("RunBGFormer.RNA", "ReclusterBGFormer"))
  expect_identical(Seurat::Command(after, "ReclusterBGFormer", "n.clusters"), 3)

  # features chosen by Seurat, written out, or by the model
  chosen <- run(before, features = Seurat::VariableFeatures(before))
  written <- run(counts, features = Seurat::VariableFeatures(before))
  expect_identical(chosen$bgformer_clusters, written$clusters)
  expect_setequal(Seurat::Tool(chosen, "RunBGFormer")$genes, Seurat::VariableFeatures(before))
  ours <- run(before, n_top_genes = 150)
  expect_length(Seurat::Tool(ours, "RunBGFormer")$genes, 150)
})

test_that("of several assays the default one, or the one named, is taken", {
  genes <- rownames(counts)[1:300]
  object <- seurat_object()
  object[["half"]] <- Seurat::CreateAssayObject(counts[genes, ])
  expect_identical(run(object)$bgformer_clusters, run(counts)$clusters)
  named <- run(object, assay = "half")
  expect_identical(named$bgformer_clusters, run(counts[genes, ])$clusters)
  expect_identical(Seurat::DefaultAssay(named), "RNA")
  expect_identical(Seurat::DefaultAssay(named[["bgformer"]]), "half")
  expect_true("RunBGFormer.half" %in% Seurat::Command(named))
  Seurat::DefaultAssay(object) <- "half"
  expect_identical(run(object)$bgformer_clusters, named$bgformer_clusters)
  recluster <- ReclusterBGFormer(named, n.clusters = 2)
  expect_identical(Seurat::DefaultAssay(recluster[["ReclusterBGFormer"]]), "half")
})

test_that("a subset of cells and genes, in another order, is clustered as what it is", {
  cells <- rev(colnames(counts))[1:150]
  genes <- rownames(counts)[1:400]
  object <- seurat_object()[genes, cells]
  part <- run(object)
  expect_named(part$bgformer_clusters, colnames(object))
  expect_identical(part$bgformer_clusters, run(counts[genes, colnames(object)])$clusters)
  one <- run(subset(seurat_object(), subset = donor == "b"))
  expect_identical(one$bgformer_clusters, run(counts[, c(FALSE, TRUE)])$clusters)
})

test_that("a merged object, whose parts have other genes, has all its cells", {
  first <- seurat_object(counts[1:500, 1:120])
  second <- seurat_object(counts[201:700, 121:234])
  merged <- merge(first, second)
  after <- run(merged)
  expect_named(after$bgformer_clusters, colnames(counts))
  expect_identical(after@assays, merged@assays)
  whole <- counts[1:700, ]
  whole[501:700, 1:120] <- 0
  whole[1:200, 121:234] <- 0
  whole <- Matrix::drop0(whole)[rownames(merged), ]
  expect_identical(after$bgformer_clusters, run(whole)$clusters)
})

test_that("any names of cells and genes come back as they were", {
  odd <- counts
  names <- c("a b", "a.b", "a/b", "a\\b", "1", "NA", "TRUE", "z\u00e9ro", "\u7d30\u80de", "'\"",
             "%s", "a,b", "#", "tab\there")
  colnames(odd)[seq_along(names)] <- names
  rownames(odd)[1:4] <- c("HLA-A/B", "gene 1", "gene.1", "\u03b2-actin")
  plain <- run(counts)
  matrix <- run(odd)
  expect_identical(names(matrix$clusters), colnames(odd))
  expect_identical(unname(matrix$clusters), unname(plain$clusters))
  object <- ReclusterBGFormer(run(seurat_object(odd)))
  expect_identical(names(object$bgformer_clusters), colnames(odd))
  expect_identical(unname(object$bgformer_clusters), unname(plain$clusters))
  expect_identical(rownames(Seurat::Embeddings(object, "bgformer")), colnames(odd))
  expect_identical(rownames(Seurat::Tool(object, "RunBGFormer")$weights), colnames(odd))
  sce <- ReclusterBGFormer(run(sce_object(odd)))
  expect_identical(colnames(sce), colnames(odd))
  expect_identical(sce$bgformer_clusters, unname(plain$clusters))
})

test_that("more than ten clusters have their levels in the order of numbers", {
  many <- run(seurat_object(), n.clusters = 12)
  expect_identical(levels(many$bgformer_clusters), as.character(0:11))
  expect_identical(levels(Seurat::Idents(many)), as.character(0:11))
})

test_that("RunUMAP, FindNeighbors, FindClusters, DimPlot, DotPlot and FindMarkers follow on", {
  for (made_of in c(counts, if (seurat5) Seurat::CreateAssayObject(counts))) {
    object <- ReclusterBGFormer(run(seurat_object(made_of)), n.clusters = 5)
    object <- Seurat::NormalizeData(object, verbose = FALSE)
    expect_s3_class(Seurat::DotPlot(object, features = rownames(counts)[1:3]), "ggplot")
    markers <- suppressMessages(Seurat::FindMarkers(object, ident.1 = "0", verbose = FALSE))
    expect_gt(nrow(markers), 0)
    object <- suppressWarnings(
      Seurat::RunUMAP(object, reduction = "bgformer", dims = 1:10, verbose = FALSE)
    )
    expect_s3_class(Seurat::DimPlot(object, group.by = "bgformer_clusters"), "ggplot")
    object <- Seurat::FindNeighbors(object, reduction = "bgformer", dims = 1:10, verbose = FALSE)
    object <- Seurat::FindClusters(object, verbose = FALSE)
    expect_gt(nlevels(object$seurat_clusters), 1)
    expect_setequal(names(object@graphs), c("RNA_nn", "RNA_snn"))
  }
})

test_that("split layers give all cells in their order, and stay split", {
  skip_if_not(seurat5)
  joined <- seurat_object()
  split <- split_object()
  after <- run(split)
  expect_identical(after$bgformer_clusters, run(joined)$bgformer_clusters)
  expect_identical(after@assays, split@assays)
  expect_identical(SeuratObject::Layers(after), c("counts.a", "counts.b"))
  by_batch <- run(split, batch.var = "donor")
  expect_identical(by_batch$bgformer_clusters, run(joined, batch.var = "donor")$bgformer_clusters)
  some <- split[, rev(seq(1, 234, by = 2))[1:90]] # of one donor: the other layer is empty
  expect_named(run(some)$bgformer_clusters, colnames(some))
})

test_that("a layer with some of the cells is refused, and scale.data is one layer", {
  skip_if_not(seurat5)
  expect_match(error_of(run(split_object(), layer = "counts.a")),
               "layer 'counts.a' of assay 'RNA' has 117 of the object's 234 cells", fixed = TRUE)
  object <- Seurat::ScaleData(Seurat::NormalizeData(seurat_object(), verbose = FALSE),
                              features = rownames(counts), verbose = FALSE)
  expect_match(error_of(run(object, layer = "raw")), "(there: 'counts', 'data', 'scale.data').",
               fixed = TRUE)
})
