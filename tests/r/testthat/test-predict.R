old <- seq(1, ncol(counts), by = 2)
fit <- run(seurat_object(), max_steps = 20)
reference <- run(seurat_object(counts[, old]), max_steps = 20)
new <- counts[, -old]
query <- PredictBGFormer(seurat_object(new), reference)

test_that("the cells of the fit get the labels that they have", {
  again <- PredictBGFormer(seurat_object(), fit)
  expect_identical(again$bgformer_clusters, fit$bgformer_clusters)
  expect_equal(again$bgformer_confidence, fit$bgformer_confidence, tolerance = 1e-5)
  expect_equal(Seurat::Embeddings(again, "bgformer"), Seurat::Embeddings(fit, "bgformer"),
               tolerance = 1e-4)
})

test_that("new cells without names of genes are refused", {
  expect_error(PredictBGFormer(unname(new), reference), "the matrix has no names of genes")
})

test_that("results are where those of RunBGFormer() are", {
  expect_named(query$bgformer_clusters, colnames(new))
  expect_identical(levels(query$bgformer_clusters), levels(reference$bgformer_clusters))
  expect_identical(Seurat::Idents(query), query$bgformer_clusters)
  expect_true(all(query$bgformer_confidence >= 0 & query$bgformer_confidence <= 1))
  expect_identical(Seurat::Key(query[["bgformer"]]), "BGF_")
  expect_identical(rownames(Seurat::Embeddings(query, "bgformer")), colnames(new))
  command <- Seurat::Command(query, "PredictBGFormer.RNA")
  expect_identical(command@params$layer, "counts")
  by_list <- PredictBGFormer(seurat_object(new), run(counts[, old], max_steps = 20))
  expect_null(Seurat::Command(by_list, "PredictBGFormer.RNA")@params$reference)
})

test_that("clusters have the name of the reference's, unless another is given", {
  three <- ReclusterBGFormer(reference, n.clusters = 3, cluster.name = "three")
  query <- PredictBGFormer(seurat_object(new), three)
  expect_identical(levels(query$three), levels(three$three))
  expect_false("bgformer_clusters" %in% colnames(query[[]]))
  named <- PredictBGFormer(sce_object(new), three, cluster.name = "mine")
  expect_identical(named$mine, unname(query$three))
})

test_that("genes whose underscores Seurat has replaced are found again", {
  named <- counts
  rownames(named) <- paste0("hg19_", rownames(named))
  fit <- suppressWarnings(run(seurat_object(named)))
  expect_no_warning(found <- PredictBGFormer(sce_object(named), fit))
  expect_identical(found$bgformer_clusters, unname(fit$bgformer_clusters))
})

test_that("new cells of a type get the cluster that the type has in the reference", {
  type <- as.character(blood$cell_type)[match(colnames(new), colnames(blood$counts))]
  known <- as.character(blood$cell_type)[match(colnames(reference), colnames(blood$counts))]
  parted <- ReclusterBGFormer(reference, n.clusters = 4)
  predicted <- PredictBGFormer(seurat_object(new), parted)$bgformer_clusters
  shares <- prop.table(table(type, predicted), 1)
  main <- prop.table(table(known, parted$bgformer_clusters), 1)
  clear <- intersect(rownames(main)[apply(main, 1, max) > 0.9], names(which(table(type) > 9)))
  expect_gt(length(clear), 0)
  expect_identical(max.col(shares[clear, , drop = FALSE]), max.col(main[clear, , drop = FALSE]))
})

test_that("the query can be embedded, clustered and used as a reference itself", {
  plotted <- suppressWarnings(
    Seurat::RunUMAP(query, reduction = "bgformer", dims = 1:10, verbose = FALSE)
  )
  expect_s3_class(Seurat::DimPlot(plotted), "ggplot")
  expect_identical(nlevels(ReclusterBGFormer(query, n.clusters = 2)$bgformer_clusters), 2L)
  next_query <- PredictBGFormer(seurat_object(new), query)
  expect_identical(next_query$bgformer_clusters, query$bgformer_clusters)
})

test_that("prediction follows the clusters that the reference was given since", {
  three <- ReclusterBGFormer(fit, n.clusters = 3)
  again <- PredictBGFormer(counts, three)
  expect_identical(again$clusters, three$bgformer_clusters)
  expect_equal(again$confidence, three$bgformer_confidence, tolerance = 1e-5)
})

test_that("every kind of query takes every kind of reference", {
  list <- PredictBGFormer(new, run(sce_object(counts[, old]), max_steps = 20))
  expect_s3_class(list, "bgformer")
  expect_identical(list$clusters, query$bgformer_clusters)
  sce <- PredictBGFormer(sce_object(new), reference, cluster.name = "old_clusters")
  expect_identical(sce$old_clusters, unname(query$bgformer_clusters))
  expect_equal(sce$old_confidence, unname(query$bgformer_confidence))
  expect_equal(SingleCellExperiment::reducedDim(sce, "BGFORMER"),
               Seurat::Embeddings(query, "bgformer"))
  expect_false("bgformer_clusters" %in% colnames(SummarizedExperiment::colData(sce)))
  unnamed <- sce_object(new)
  colnames(unnamed) <- NULL
  expect_identical(PredictBGFormer(unnamed, reference)$bgformer_clusters,
                   unname(query$bgformer_clusters))
})

test_that("a file with the reference is enough, in another session", {
  file <- tempfile(fileext = ".rds")
  saveRDS(list(reference = reference, new = new), file)
  said <- new_r(sprintf('
    suppressPackageStartupMessages(library(bgformer))
    given <- readRDS("%s")
    query <- PredictBGFormer(given$new, given$reference)
    cat("labels:", as.character(query$clusters), "\n")', file))
  expect_identical(trimws(grep("^labels:", said, value = TRUE)),
                   paste(c("labels:", as.character(query$bgformer_clusters)), collapse = " "))
})

test_that("a subset of the reference gives the same, a merged one has no model", {
  few <- reference[, c(5, 2, 30)]
  expect_identical(PredictBGFormer(new, few)$clusters, query$bgformer_clusters)
  merged <- suppressWarnings(merge(reference, query))
  expect_match(error_of(PredictBGFormer(new, merged)), "give the object from before as reference")
})

test_that("what merge() and as.SingleCellExperiment() drop is put back by prediction", {
  several <- ReclusterBGFormer(reference, resolution = 1) # the default can be one cluster
  alone <- PredictBGFormer(seurat_object(new), several)
  named <- Seurat::RenameIdents(several, `0` = "large")
  named <- ReclusterBGFormer(named, resolution = 1) # which writes the name into the column
  merged <- suppressWarnings(merge(named, seurat_object(new)))
  lost <- "has the clusters 'bgformer_clusters' but no bgformer model, which merge\\(\\) and"
  expect_match(error_of(ReclusterBGFormer(merged)), lost)
  expect_match(error_of(BGFormerPlot(merged)), lost)
  expect_no_warning(back <- PredictBGFormer(merged, named, verbose = FALSE))
  expect_identical(as.character(back$bgformer_clusters[colnames(named)]),
                   as.character(named$bgformer_clusters))
  expect_identical(as.character(back$bgformer_clusters[colnames(new)] == "large"),
                   as.character(unname(alone$bgformer_clusters) == "0"))
  expect_identical(nlevels(ReclusterBGFormer(back, n.clusters = 3)$bgformer_clusters), 3L)

  converted <- Seurat::as.SingleCellExperiment(named)
  expect_match(error_of(ReclusterBGFormer(converted)), lost)
  back <- PredictBGFormer(converted, named)
  expect_identical(as.character(back$bgformer_clusters), as.character(converted$bgformer_clusters))
  expect_identical(SingleCellExperiment::reducedDimNames(back), "BGFORMER")
  expect_identical(nlevels(ReclusterBGFormer(back, n.clusters = 3)$bgformer_clusters), 3L)
})

test_that("missing genes are said, and too few are refused", {
  genes <- Seurat::Tool(reference, "RunBGFormer")$genes
  without <- setdiff(rownames(new), genes[1:30])
  lost <- sprintf("30 of the model's %d genes are missing in the new cells", length(genes))
  expect_warning(partly <- PredictBGFormer(new[without, ], reference), lost)
  expect_gt(mean(as.character(partly$clusters) == query$bgformer_clusters), 0.85)
  before <- seurat_object(new[setdiff(rownames(new), genes[-(1:200)]), ])
  expect_match(error_of(PredictBGFormer(before, reference)),
               "only 200 of the model's .* genes are among those of the new cells")
})

test_that("bad input is refused in one sentence", {
  expect_match(error_of(PredictBGFormer(new, seurat_object())), "reference has no bgformer model")
  expect_match(error_of(PredictBGFormer(new, 1:3)), "reference is of class 'integer'")
  expect_match(error_of(PredictBGFormer("a", reference)), "this is of class 'character'")
  expect_match(error_of(PredictBGFormer(new, "a")), "LoadBGFormer\\(\\) reads the folder")
  expect_match(error_of(PredictBGFormer(new, reference, resolution = 1)),
               "unknown argument 'resolution'")
  expect_match(error_of(PredictBGFormer(new / 3, reference)), "it is not raw counts")
  expect_match(error_of(PredictBGFormer(new, reference, device = "cuda:99")), "cuda")
  expect_match(error_of(PredictBGFormer(seurat_object(new), reference, assay = "ADT")),
               "assay 'ADT' is not in the object")
  typed <- seurat_object(new)
  typed$type <- "mine"
  expect_match(error_of(PredictBGFormer(typed, reference, cluster.name = "type")),
               "would write over the column 'type'")
})

test_that("scater and scran go on from a SingleCellExperiment", {
  skip_if_not_installed("scater")
  skip_if_not_installed("scran")
  sce <- PredictBGFormer(sce_object(new), ReclusterBGFormer(reference, n.clusters = 3))
  sce <- scuttle::logNormCounts(sce)
  drawn <- scater::plotReducedDim(sce, "BGFORMER", colour_by = "bgformer_clusters")
  expect_s3_class(drawn, "ggplot")
  markers <- scran::findMarkers(sce, groups = sce$bgformer_clusters)
  expect_named(markers, c("0", "1", "2"))
  expect_identical(nrow(markers[["0"]]), nrow(sce))
})

type_b <- blood$cell_type == "CD19+ B"
without_b <- !type_b & seq_along(type_b) %% 2 == 1
of_b <- type_b[!without_b]
lacking <- RunBGFormer(seurat_object(blood$counts[, without_b]), verbose = FALSE)

test_that("cells of a type that the reference lacks are unassigned, and stay so", {
  expect_warning(query <- PredictBGFormer(seurat_object(blood$counts[, !without_b]), lacking),
                 "cells .* are unlike those of the reference and therefore unassigned")
  apart <- query$bgformer_clusters == "unassigned"
  expect_gt(mean(apart[of_b]), 0.5)
  expect_lt(mean(apart[!of_b]), 0.2)
  expect_identical(unname(apart), unname(query$bgformer_outlier > 0.93))
  expect_identical(levels(query)[nlevels(query$bgformer_clusters)], "unassigned")
  again <- ReclusterBGFormer(query, resolution = 3, cluster.name = "fine")
  expect_identical(again$fine == "unassigned", apart)
  expect_identical(again$bgformer_outlier, query$bgformer_outlier)
  part <- ReclusterBGFormer(query[, 1:150])
  expect_identical(part$bgformer_clusters == "unassigned", apart[1:150])
  fitted <- run(query, max_steps = 20)
  expect_false("bgformer_outlier" %in% colnames(fitted[[]]))
  expect_false("unassigned" %in% levels(fitted$bgformer_clusters))
})

test_that("names, other objects and labels know unassigned cells", {
  new <- blood$counts[, !without_b]
  lacking$kind <- ifelse(lacking$bgformer_clusters == "0", "most", "others")
  named <- SeuratObject::RenameIdents(lacking, "0" = "largest")
  query <- suppressWarnings(PredictBGFormer(seurat_object(new), named, labels = "kind"))
  expect_true(all(c("largest", "unassigned") %in% levels(query$bgformer_clusters)))
  expect_identical(query$kind == "unassigned", query$bgformer_clusters == "unassigned")
  again <- ReclusterBGFormer(query)
  expect_identical(again$bgformer_clusters == "unassigned",
                   query$bgformer_clusters == "unassigned")
  expect_true("largest" %in% levels(again$bgformer_clusters))
  sce <- suppressWarnings(PredictBGFormer(sce_object(new), named))
  expect_identical(sce$bgformer_clusters, unname(query$bgformer_clusters))
  expect_identical(sce$bgformer_outlier, unname(query$bgformer_outlier))
  list <- suppressWarnings(PredictBGFormer(new, named))
  expect_identical(unname(list$outlier), sce$bgformer_outlier)
  expect_output(print(list), paste("cells in", length(lacking@tools$RunBGFormer$evidence$cluster)))
  drawn <- BGFormerPlot(query)
  expect_s3_class(drawn, "ggplot")
  own <- seurat_object(new)
  own$bgformer_outlier <- 1
  expect_error(PredictBGFormer(own, lacking), "'bgformer_outlier' that is not from bgformer")
})

test_that("unassigned cells can be given a name, and merged objects can be predicted again", {
  query <- suppressWarnings(PredictBGFormer(seurat_object(blood$counts[, !without_b]), lacking))
  apart <- unname(query$bgformer_clusters == "unassigned")
  named <- SeuratObject::RenameIdents(query, unassigned = "B")
  again <- ReclusterBGFormer(named)
  expect_identical(unname(again$bgformer_clusters == "B"), apart)
  expect_no_warning(parts <- SubclusterBGFormer(named, "B", n.clusters = 2, verbose = FALSE))
  expect_setequal(unname(which(parts$bgformer_subclusters %in% c("B.0", "B.1"))), which(apart))
  both <- suppressWarnings(merge(lacking, query))
  again <- suppressWarnings(PredictBGFormer(both, lacking))
  expect_true(all(c("bgformer_outlier", "bgformer_clusters") %in% colnames(again[[]])))
  query$kind <- ifelse(apart, "apart", "known")
  new <- suppressWarnings(PredictBGFormer(lacking[, 1:50], query, labels = "kind"))
  expect_true(all(new$kind %in% c("known", "unassigned")))
})
