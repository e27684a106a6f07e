object <- run(seurat_object(), max_steps = 20)

test_that("the resolution of the run gives the clusters of the run", {
  again <- ReclusterBGFormer(object)
  expect_identical(again$bgformer_clusters, object$bgformer_clusters)
  expect_equal(again$bgformer_confidence, object$bgformer_confidence, tolerance = 1e-6)
})

test_that("more resolution gives more clusters, and a number gives that number", {
  fine <- ReclusterBGFormer(object, resolution = 3)
  coarse <- ReclusterBGFormer(object, resolution = 0.1)
  expect_gt(nlevels(fine$bgformer_clusters), nlevels(coarse$bgformer_clusters))
  expect_identical(Seurat::Idents(fine), fine$bgformer_clusters)
  four <- ReclusterBGFormer(object, n.clusters = 4)
  expect_identical(levels(four$bgformer_clusters), as.character(0:3))
  expect_identical(Seurat::Tool(four, "RunBGFormer")$n.clusters, 4L)
  expect_identical(four[["bgformer"]], object[["bgformer"]])
})

test_that("verbose is taken and checked for every kind of object", {
  for (fitted in list(object, run(sce_object()), run(counts))) {
    expect_silent(ReclusterBGFormer(fitted, n.clusters = 2, verbose = FALSE))
    expect_match(error_of(ReclusterBGFormer(fitted, verbose = "no")),
                 "verbose must be TRUE or FALSE")
  }
})

test_that("a column of its own leaves the first clusters alone", {
  both <- ReclusterBGFormer(object, n.clusters = 2, cluster.name = "two_clusters")
  expect_identical(nlevels(both$two_clusters), 2L)
  expect_identical(both$bgformer_clusters, object$bgformer_clusters)
  again <- ReclusterBGFormer(both, n.clusters = 4)
  expect_identical(nlevels(again$bgformer_clusters), 4L)
  expect_identical(again$two_clusters, both$two_clusters)
})

test_that("it needs only the object, from a file and in another session", {
  file <- tempfile(fileext = ".rds")
  saveRDS(object, file)
  said <- new_r(sprintf('
    suppressPackageStartupMessages(library(bgformer))
    object <- ReclusterBGFormer(readRDS("%s"), n.clusters = 4)
    cat("labels:", as.character(object$bgformer_clusters), "\n")', file))
  labels <- ReclusterBGFormer(object, n.clusters = 4)$bgformer_clusters
  expect_identical(trimws(grep("^labels:", said, value = TRUE)),
                   paste(c("labels:", as.character(labels)), collapse = " "))
})

test_that("a subset of the cells can be clustered again, and so can renamed ones", {
  half <- object[, rev(seq_len(100))]
  again <- ReclusterBGFormer(half, n.clusters = 3)
  expect_named(again$bgformer_clusters, colnames(half))
  expect_identical(nlevels(again$bgformer_clusters), 3L)
  renamed <- Seurat::RenameCells(object, add.cell.id = "x")
  expected <- ReclusterBGFormer(object, n.clusters = 3)$bgformer_clusters
  found <- ReclusterBGFormer(renamed, n.clusters = 3)$bgformer_clusters
  expect_identical(unname(found), unname(expected))
  expect_named(found, colnames(renamed))
  renamed[["bgformer"]] <- NULL
  expect_match(error_of(ReclusterBGFormer(renamed)),
               "'bgformer', which bgformer stored, is no longer in this object; call RunBGFormer")
})

test_that("what is stored does not grow from call to call", {
  once <- ReclusterBGFormer(object, n.clusters = 4)
  twice <- ReclusterBGFormer(once, n.clusters = 4)
  expect_identical(Seurat::Tool(twice, "RunBGFormer"), Seurat::Tool(once, "RunBGFormer"))
  expect_setequal(names(Seurat::Tool(twice, "RunBGFormer")),
                  names(Seurat::Tool(object, "RunBGFormer")))
  expect_false(anyDuplicated(names(Seurat::Tool(twice, "RunBGFormer"))) > 0)
})

test_that("cells that are there twice are refused", {
  sce <- run(sce_object())
  expect_match(error_of(ReclusterBGFormer(sce[, rep(seq_len(ncol(sce)), 2)])),
               "234 cell names of this object are duplicated")
})

test_that("SingleCellExperiment and list are clustered again alike", {
  sce <- ReclusterBGFormer(run(sce_object(), max_steps = 20), n.clusters = 4)
  list <- ReclusterBGFormer(run(counts, max_steps = 20), n.clusters = 4)
  four <- ReclusterBGFormer(object, n.clusters = 4)
  expect_identical(sce$bgformer_clusters, unname(four$bgformer_clusters))
  expect_identical(list$clusters, four$bgformer_clusters)
  expect_identical(list$n.clusters, 4L)
})

test_that("what cannot be done is said", {
  expect_match(error_of(ReclusterBGFormer(seurat_object())),
               "this object has no bgformer model; call RunBGFormer\\(\\) first")
  expect_match(error_of(ReclusterBGFormer(sce_object())), "this object has no bgformer model")
  expect_match(error_of(ReclusterBGFormer(1:3)), "this is of class 'integer'")
  expect_match(error_of(ReclusterBGFormer(object, resolution = 1, n.clusters = 2)),
               "give resolution or n.clusters, not both")
  expect_match(error_of(ReclusterBGFormer(object, resolution = -1)), "resolution is -1")
  expect_match(error_of(ReclusterBGFormer(object, n.clusters = 1000)), "n.clusters is 1000")
  expect_match(error_of(ReclusterBGFormer(object, resoluton = 1)), "unknown argument 'resoluton'")
})

test_that("cells of one population are one cluster, until a resolution cuts them", {
  single <- one_type()
  expect_warning(whole <- run(single, max_steps = 20), paste(
    "one cluster, because no group of cells is separated from the others by a gap; [0-9]+ clusters",
    "without such evidence were considered: resolution=0.8 returns them"
  ))
  expect_identical(whole$n.clusters, 1L)
  expect_identical(levels(whole$clusters), "0")
  expect_identical(whole$evidence$n_cells, ncol(single))
  expect_identical(whole$evidence$links, NaN)
  cut <- ReclusterBGFormer(whole, resolution = 0.8)
  expect_gt(nlevels(cut$clusters), 1)
  expect_identical(whole$n.considered, cut$n.clusters)
  expect_warning(again <- ReclusterBGFormer(cut), "one cluster")
  expect_identical(again[names(whole)], unclass(whole))
})

test_that("the warning of one cluster comes from a separate process too", {
  skip_if_not_installed("processx")
  expect_warning(whole <- run(one_type(), max_steps = 20, separate.process = TRUE), "one cluster")
  expect_identical(whole$n.clusters, 1L)
})

test_that("each cluster has a row of evidence, which is renewed", {
  kept <- Seurat::Tool(object, "RunBGFormer")
  expect_evidence(kept, object$bgformer_clusters)
  four <- ReclusterBGFormer(object, n.clusters = 4, cluster.name = "four")
  expect_evidence(Seurat::Tool(four, "RunBGFormer"), four$four)
  expect_identical(Seurat::Tool(four, "RunBGFormer")$n.considered, 4L)
  expect_identical(Seurat::Tool(ReclusterBGFormer(four), "RunBGFormer")$evidence, kept$evidence)

  sce <- run(sce_object(), max_steps = 20)
  expect_identical(S4Vectors::metadata(sce)$bgformer$evidence, kept$evidence)
  fine <- ReclusterBGFormer(sce, resolution = 3)
  expect_evidence(S4Vectors::metadata(fine)$bgformer, fine$bgformer_clusters)
  expect_identical(ReclusterBGFormer(run(counts, max_steps = 20), resolution = 3)$evidence,
                   S4Vectors::metadata(fine)$bgformer$evidence)
})

test_that("evidence of new cells and of a subset counts the cells that are there", {
  three <- ReclusterBGFormer(object, n.clusters = 3)
  new <- PredictBGFormer(counts[, 1:100], three)
  expect_evidence(new, new$clusters)
  half <- ReclusterBGFormer(object[, 1:100], n.clusters = 3)
  expect_evidence(Seurat::Tool(half, "RunBGFormer"), half$bgformer_clusters)
})

test_that("no cluster has fewer cells than min_cells, then and later", {
  expect_identical(run(counts, max_steps = 20)$params$min_cells, 10L)
  few <- run(counts, max_steps = 20, resolution = 3, min.cells = 1)
  many <- run(counts, max_steps = 20, resolution = 3, min.cells = 40)
  expect_identical(many$params$min_cells, 40L)
  expect_lt(many$n.clusters, few$n.clusters)
  fine <- ReclusterBGFormer(many, resolution = 10)
  expect_lte(fine$n.clusters, ncol(counts) %/% 40)
  expect_match(error_of(run(counts, min_cells = 0)), "min_cells")
})
