# Whatever is done to an object after a run, its cells keep their results, or an error says why not.
cells <- counts[, 1:120]
object <- run(seurat_object(cells), max_steps = 5, resolution = 1)
sce <- run(sce_object(cells), max_steps = 5, resolution = 1)
nameless <- function(matrix) {
  colnames(matrix) <- NULL
  matrix
}
unnamed <- run(sce_object(nameless(cells)), max_steps = 5, resolution = 1)
list <- run(cells, max_steps = 5, resolution = 1)

# A resolution of its own, so that no split is refused.
labels_of <- function(object) {
  as.character(bgformer::ReclusterBGFormer(object, resolution = 1)$bgformer_clusters)
}
expect_saved <- function(object, kept) {
  folder <- tempfile("saved-")
  bgformer::SaveBGFormer(object, folder)
  loaded <- bgformer::LoadBGFormer(folder)
  testthat::expect_identical(as.character(loaded$clusters), as.character(object$bgformer_clusters))
  testthat::expect_identical(unname(loaded$embedding), unname(kept$embedding))
  testthat::expect_identical(unname(as.matrix(loaded$weights)), unname(as.matrix(kept$weights)))
}

set.seed(1)
order <- sample(120)

test_that("cells in another order, with or without names, are clustered and saved as themselves", {
  expected <- labels_of(unnamed)
  moved <- list$embedding[order, ]
  for (there in list(unnamed, sce)) {
    expect_identical(labels_of(there[, order]), expected[order])
    expect_saved(there[, order], list(embedding = moved, weights = list$weights[order, ]))
    shown <- AnchorPlot(there[, order])$data
    expect_equal(shown$share, AnchorPlot(there)$data$share)
  }
})

test_that("names that were swapped, or given to other cells, do not matter", {
  expected <- labels_of(sce)
  swapped <- sce
  colnames(swapped) <- rev(colnames(sce))
  expect_identical(labels_of(swapped), expected)
  reused <- object[, order[1:60]]
  renamed <- SeuratObject::RenameCells(reused, new.names = colnames(object)[1:60])
  expect_identical(labels_of(renamed), labels_of(reused))
  at <- match(colnames(reused), colnames(object))
  expect_saved(renamed, list(embedding = list$embedding[at, ], weights = list$weights[at, ]))
})

test_that("subsets follow a round through a file and a second clustering", {
  file <- tempfile(fileext = ".rds")
  saveRDS(ReclusterBGFormer(unnamed[, order[1:80]], resolution = 1), file)
  part <- readRDS(file)
  expect_identical(nrow(S4Vectors::metadata(part)$bgformer$weights), 80L)
  expect_identical(labels_of(part[, 80:1]), rev(labels_of(part)))
  both <- BiocGenerics::cbind(part, unnamed)
  expect_match(error_of(ReclusterBGFormer(both)), "several bgformer models")
})

test_that("new cells are recognised too, and a reference may be any part of itself", {
  query <- PredictBGFormer(sce_object(nameless(counts[, 121:234])), unnamed)
  again <- PredictBGFormer(sce_object(nameless(counts[, 121:234])), unnamed[, order[1:20]])
  expect_identical(again$bgformer_clusters, query$bgformer_clusters)
  expect_identical(labels_of(query[, 114:1]), rev(labels_of(query)))
  other <- query
  S4Vectors::metadata(other) <- list()
  other$bgformer_outlier <- NULL # cbind() asks for the same columns
  expect_match(error_of(ReclusterBGFormer(BiocGenerics::cbind(unnamed, other))), paste(
    "114 of 234 cells were not there when RunBGFormer\\(\\) was called, or what the reduction",
    "'BGFORMER' holds of them has changed; call it again"
  ))
})

test_that("cells that are there more often than in the run are refused", {
  expect_match(error_of(ReclusterBGFormer(unnamed[, c(1:120, 1:3)])),
               "3 of 123 cells are copies of others")
  twice <- run(sce_object(nameless(cells[, c(1:120, 1:3)])), max_steps = 5)
  expect_length(ReclusterBGFormer(twice[, 123:1])$bgformer_clusters, 123)
})

test_that("a latent space that was changed or removed is refused", {
  change <- function(values) {
    SingleCellExperiment::reducedDim(unnamed, "BGFORMER") <- values
    unnamed
  }
  latent <- SingleCellExperiment::reducedDim(unnamed, "BGFORMER")
  for (ask in list(ReclusterBGFormer, AnchorPlot, function(x) SaveBGFormer(x, tempfile()))) {
    expect_match(error_of(ask(change(latent + 1))), "^120 of 120 cells were not there")
    expect_match(error_of(ask(change(replace(latent, 5, NaN)))), "has values that are missing")
    expect_match(error_of(ask(change(latent[, 1:5]))), "has 5 dimensions where bgformer stored 32")
    expect_match(error_of(ask(change(NULL))), "'BGFORMER', which bgformer stored, is no longer")
  }
})

test_that("what is stored is found damaged part by part", {
  damage <- list(
    model = NULL, model = "x", model = raw(3), anchors = NULL, anchors = list$anchors * NaN,
    weights = NULL, weights = list$weights[, 1:3], weights = list$weights * 2,
    weights = replace_slot(list$weights, "i", list$weights@i + 1000L), cell.keys = NULL,
    cell.keys = list$cell.keys[1:3], anchor.clusters = NULL,
    anchor.clusters = as.integer(list$anchor.clusters), anchor.support = list$anchor.support * NA,
    evidence = NULL, evidence = list$evidence[0, ], seed = "a", resolution = NULL,
    n.considered = list(1), cluster.name = 3, run.name = NA, reduction.name = NULL, columns = 1
  )
  for (at in seq_along(damage)) {
    part <- names(damage)[at]
    kept <- S4Vectors::metadata(sce)$bgformer
    kept[part] <- damage[at]
    spoilt_sce <- sce
    S4Vectors::metadata(spoilt_sce)$bgformer <- kept
    spoilt_seurat <- object
    methods::slot(spoilt_seurat, "tools")$RunBGFormer <- kept
    spoilt_list <- list
    spoilt_list[part] <- damage[at]
    in_list <- if (part %in% names(list)) list(spoilt_list)
    for (there in c(list(spoilt_sce, spoilt_seurat), in_list)) {
      for (ask in list(ReclusterBGFormer, BGFormerPlot, function(x) PredictBGFormer(cells, x))) {
        expect_match(error_of(ask(there)), sprintf("is damaged .* \\(its part '%s'\\)", part))
      }
    }
  }
})

test_that("bytes of another model, and a list whose cells do not fit, are refused", {
  other <- list
  other$model <- run(cells, max_steps = 5, n_anchors = 20, n.clusters = 2)$model
  expect_match(error_of(ReclusterBGFormer(other)), "damaged \\(it has 20 anchors")
  expect_match(error_of(PredictBGFormer(cells, other)), "damaged \\(it has 20 anchors")
  other$model <- as.raw(rep(1, 100))
  expect_match(error_of(ReclusterBGFormer(other)), "damaged")
  for (part in c("clusters", "confidence", "embedding")) {
    other <- list
    other[[part]] <- if (part == "embedding") list[[part]][120:1, ] else list[[part]][1:5]
    expect_match(error_of(BGFormerPlot(other)), "of this list of class 'bgformer' is damaged")
  }
  whole <- list
  whole$embedding <- list$embedding[120:1, ]
  whole$clusters <- rev(list$clusters)
  whole$confidence <- rev(list$confidence)
  expect_identical(ReclusterBGFormer(whole, resolution = 1)$clusters,
                   rev(ReclusterBGFormer(list, resolution = 1)$clusters))
})

test_that("columns of results that were written over are named", {
  for (there in list(object, sce)) {
    there$bgformer_confidence <- "high"
    expect_match(error_of(BGFormerPlot(there)), "'bgformer_confidence', which .* has other values")
    there$bgformer_confidence <- NULL
    expect_match(error_of(BGFormerPlot(there)), "is no longer in this object; call Recluster")
  }
})

test_that("what somebody else keeps under the name of the results is not written over", {
  foreign <- sce_object(cells)
  S4Vectors::metadata(foreign)$bgformer <- "notes"
  expect_match(error_of(run(foreign)), "metadata(object)$bgformer holds something that is not from",
               fixed = TRUE)
  expect_match(error_of(ReclusterBGFormer(foreign)), "has no bgformer model")
  foreign <- seurat_object(cells)
  methods::slot(foreign, "tools")$RunBGFormer <- 1:3
  expect_match(error_of(run(foreign)), "Tool(object, \"RunBGFormer\") holds", fixed = TRUE)
})
