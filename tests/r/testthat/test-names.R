fit <- run(seurat_object(), max_steps = 20)
n <- nlevels(fit$bgformer_clusters)

test_that("names given with RenameIdents() are used by prediction and reclustering", {
  named <- Seurat::RenameIdents(fit, `0` = "large", `1` = "next")
  query <- PredictBGFormer(seurat_object(counts[, 1:200]), named)
  expect_identical(levels(query$bgformer_clusters)[1:3], c("large", "next", "2"))
  expect_identical(as.character(query$bgformer_clusters),
                   as.character(unname(Seurat::Idents(named)[1:200])))
  again <- ReclusterBGFormer(named)
  expect_identical(as.character(again$bgformer_clusters), as.character(Seurat::Idents(named)))
  expect_identical(again$bgformer_clusters, Seurat::Idents(again))
})

test_that("renamed levels are used, in each kind of object and by saveRDS()", {
  for (object in list(fit, run(sce_object(), max_steps = 20))) {
    levels(object$bgformer_clusters)[1] <- "large"
    path <- withr::local_tempfile()
    saveRDS(object, path)
    again <- ReclusterBGFormer(readRDS(path), n.clusters = n)
    expect_identical(levels(again$bgformer_clusters)[1], "large")
    query <- PredictBGFormer(counts[, 1:200], readRDS(path))
    expect_identical(levels(query$clusters)[1], "large")
  }
  result <- run(counts, max_steps = 20)
  levels(result$clusters)[2] <- "next"
  expect_identical(levels(ReclusterBGFormer(result, n.clusters = n)$clusters)[2], "next")
})

test_that("several clusters can have one name", {
  named <- Seurat::RenameIdents(fit, `0` = "T", `1` = "T")
  query <- PredictBGFormer(seurat_object(counts[, 1:200]), named)
  expect_identical(levels(query$bgformer_clusters), c("T", as.character(seq(2, n - 1))))
  expect_identical(nlevels(ReclusterBGFormer(named)$bgformer_clusters), n - 1L)
})

test_that("identities that have nothing to do with the clusters are not their names", {
  other <- fit
  Seurat::Idents(other) <- "orig.ident"
  expect_identical(levels(ReclusterBGFormer(other)$bgformer_clusters),
                   levels(fit$bgformer_clusters))
  other$half <- rep(c("a", "b"), length.out = ncol(other))
  Seurat::Idents(other) <- "half"
  expect_identical(levels(ReclusterBGFormer(other)$bgformer_clusters),
                   levels(fit$bgformer_clusters))
})

test_that("names that a new run overwrites are named in a warning", {
  for (object in list(fit, run(sce_object(), max_steps = 20))) {
    levels(object$bgformer_clusters)[1] <- "large"
    expect_warning(again <- run(object), "'bgformer_clusters' are overwritten, .* names 'large'\\.")
    expect_identical(levels(again$bgformer_clusters)[1], "0")
    expect_no_warning(run(object, cluster.name = "other"))
  }
  named <- Seurat::RenameIdents(fit, `0` = "large")
  expect_warning(run(named), "and with them the names 'large'\\.")
  expect_no_warning(run(fit))
  query <- PredictBGFormer(seurat_object(), named)
  expect_no_warning(PredictBGFormer(query, named))
  expect_warning(PredictBGFormer(query, fit), "names 'large'")
})

test_that("names of cells are no names of clusters for prediction, which is said", {
  changed <- fit
  changed$bgformer_clusters <- as.character(changed$bgformer_clusters)
  changed$bgformer_clusters[1] <- "doublet"
  expect_warning(query <- PredictBGFormer(counts, changed),
                 "different names in 'bgformer_clusters' of the reference")
  expect_identical(query$clusters, fit$bgformer_clusters)
})

test_that("clusters that were changed cell by cell are not overwritten", {
  changed <- fit
  changed$bgformer_clusters <- as.character(changed$bgformer_clusters)
  changed$bgformer_clusters[1] <- "doublet"
  expect_error(ReclusterBGFormer(changed), "changed cell by cell since, .* give cluster.name")
  beside <- ReclusterBGFormer(changed, n.clusters = 3, cluster.name = "three")
  expect_identical(unname(beside$bgformer_clusters[1]), "doublet")
})

test_that("a cluster whose cells stay keeps its colour", {
  colours <- function(object) {
    kept <- Seurat::Tool(object, "RunBGFormer")
    setNames(kept$colours, levels(kept$anchor.clusters))
  }
  before <- fit
  for (resolution in c(0.3, 2, 0.8, 0.2)) {
    after <- ReclusterBGFormer(before, resolution = resolution)
    shared <- table(before$bgformer_clusters, after$bgformer_clusters)
    same <- which(shared == rowSums(shared) & t(t(shared) == colSums(shared)), arr.ind = TRUE)
    expect_identical(unname(colours(after)[same[, 2]]), unname(colours(before)[same[, 1]]))
    expect_identical(anyDuplicated(colours(after)), 0L)
    before <- after
  }
})

test_that("names that no cluster has any more are named in a warning", {
  named <- fit
  levels(named$bgformer_clusters) <- paste("type", seq_len(n))
  expect_warning(ReclusterBGFormer(named, n.clusters = n - 1), "their names are gone: 'type")
})
