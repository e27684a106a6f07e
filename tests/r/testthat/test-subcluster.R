object <- seurat_object(blood$counts)
fit <- run(object, max_steps = 20)
parts <- SubclusterBGFormer(fit, "0", n.clusters = 2, verbose = FALSE)
of_0 <- unname(fit$bgformer_clusters == "0")
kept <- function(object) Seurat::Tool(object, "RunBGFormer")

test_that("parts are beside the clusters, which stay", {
  expect_identical(parts$bgformer_clusters, fit$bgformer_clusters)
  expect_setequal(parts$bgformer_subclusters[of_0], c("0.0", "0.1"))
  expect_identical(as.character(parts$bgformer_subclusters[!of_0]),
                   as.character(fit$bgformer_clusters[!of_0]))
  expect_identical(levels(parts$bgformer_subclusters)[1:3], c("0.0", "0.1", "1"))
  expect_identical(Seurat::Idents(parts), parts$bgformer_subclusters)
  expect_identical(parts$bgformer_subclusters_confidence[!of_0], fit$bgformer_confidence[!of_0])
  made <- kept(parts)$subclusters$bgformer_subclusters
  expect_identical(made$splits$cluster, "0")
  expect_identical(made$evidence$cluster, c("0.0", "0.1"))
  expect_identical(sum(made$evidence$n_cells), sum(of_0))
})

test_that("it is a fit to these cells, in each kind of object and in a process of its own", {
  alone <- run(blood$counts[, of_0], n.clusters = 2, max_steps = 20)
  expected <- paste0("0.", alone$clusters)
  expect_identical(as.character(parts$bgformer_subclusters[of_0]), expected)
  sce <- SubclusterBGFormer(run(sce_object(blood$counts), max_steps = 20), 0, n.clusters = 2,
                            verbose = FALSE)
  expect_identical(as.character(sce$bgformer_subclusters), unname(as.character(
    parts$bgformer_subclusters
  )))
  expect_identical(S4Vectors::metadata(sce)$bgformer$subclusters,
                   kept(parts)$subclusters)
  separate <- SubclusterBGFormer(fit, "0", n.clusters = 2, verbose = FALSE, separate.process = TRUE)
  expect_identical(separate$bgformer_subclusters, parts$bgformer_subclusters)
})

test_that("parts are divided further, and put together again", {
  further <- SubclusterBGFormer(parts, "0.0", n.clusters = 2, verbose = FALSE)
  expect_identical(levels(further$bgformer_subclusters)[1:4], c("0.0.0", "0.0.1", "0.1", "1"))
  again <- SubclusterBGFormer(further, "0", n.clusters = 2, verbose = FALSE)
  expect_identical(again$bgformer_subclusters, parts$bgformer_subclusters)
  expect_identical(kept(again)$subclusters$bgformer_subclusters$splits$cluster, "0")
  together <- SubclusterBGFormer(fit, c("0", "2"), n.clusters = 3, verbose = FALSE)
  expect_identical(levels(together$bgformer_subclusters)[1:3], c("0+2.0", "0+2.1", "0+2.2"))
})

test_that("names that the user gave are those of the parts", {
  named <- Seurat::RenameIdents(fit, `0` = "T cells")
  named <- SubclusterBGFormer(named, "T cells", n.clusters = 2, verbose = FALSE)
  expect_identical(levels(named$bgformer_subclusters)[1:2], c("T cells.0", "T cells.1"))
})

test_that("a part is told by its cells, and not by its name", {
  named <- Seurat::RenameIdents(fit, `0` = "B", `1` = "B.cell")
  for (again in 1:2) {
    named <- SubclusterBGFormer(named, "B", n.clusters = 2, verbose = FALSE)
    expect_setequal(named$bgformer_subclusters[of_0], c("B.0", "B.1"))
    expect_identical(sum(named$bgformer_subclusters == "B.cell"), sum(fit$bgformer_clusters == "1"))
  }
  # names that only the identities held are in the column now
  expect_identical(levels(named$bgformer_clusters)[1:3], c("B", "B.cell", "2"))
  expect_identical(levels(ReclusterBGFormer(named)$bgformer_clusters)[1:2], c("B", "B.cell"))
})

test_that("splits and evidence of clusters whose names begin alike stay", {
  named <- Seurat::RenameIdents(fit, `0` = "B", `1` = "B.cell")
  for (cluster in c("B.cell", "B", "B.0", "B")) {
    named <- SubclusterBGFormer(named, cluster, n.clusters = 2, verbose = FALSE)
  }
  made <- kept(named)$subclusters$bgformer_subclusters
  expect_identical(made$splits$cluster, c("B.cell", "B"))
  expect_setequal(made$evidence$cluster, c("B.0", "B.1", "B.cell.0", "B.cell.1"))
})

test_that("parts that were renamed are parts of their cluster", {
  renamed <- Seurat::RenameIdents(parts, `0.0` = "naive")
  further <- SubclusterBGFormer(renamed, "naive", n.clusters = 2, verbose = FALSE)
  expect_identical(levels(further$bgformer_subclusters)[1:3], c("naive.0", "naive.1", "0.1"))
  again <- SubclusterBGFormer(further, "0", n.clusters = 2, verbose = FALSE)
  expect_identical(again$bgformer_subclusters, parts$bgformer_subclusters)
})

test_that("one type is not divided", {
  expect_warning(
    whole <- SubclusterBGFormer(fit, "2", verbose = FALSE),
    "cluster '2' is not divided, because no group of cells"
  )
  expect_identical(whole$bgformer_subclusters, fit$bgformer_clusters)
})

test_that("the model, the plots and reclustering still work", {
  expect_identical(ReclusterBGFormer(parts)$bgformer_clusters, fit$bgformer_clusters)
  expect_s3_class(BGFormerPlot(parts), "ggplot")
  query <- PredictBGFormer(seurat_object(counts), parts)
  expect_identical(setdiff(levels(query$bgformer_clusters), "unassigned"),
                   levels(fit$bgformer_clusters))
})

test_that("what cannot be divided is said, and why", {
  smallest <- levels(fit$bgformer_clusters)[nlevels(fit$bgformer_clusters)]
  other <- fit
  other$bgformer_subclusters <- "mine"
  changed <- ReclusterBGFormer(parts, n.clusters = 3)
  joint <- Seurat::RenameIdents(parts, `0.1` = "joint", `2` = "joint")
  cases <- list(
    list(fit, "99", "there is no cluster '99' \\(there: '0', '1'"),
    list(fit, NULL, "cluster"),
    list(fit, smallest, "too few to divide; at least 20 are needed"),
    list(other, "0", "bgformer_subclusters"),
    list(changed, "0", "the clusters have changed since 'bgformer_subclusters' was made"),
    list(joint, "0", "cells of '0' were divided together with others, into 'joint'"),
    list(object, "0", "no bgformer model; call RunBGFormer"),
    list(blood$counts, "0", "takes a Seurat object or a SingleCellExperiment")
  )
  for (case in cases) {
    expect_error(SubclusterBGFormer(case[[1]], case[[2]], verbose = FALSE), case[[3]])
  }
})

test_that("results of RunBGFormer() are not overwritten", {
  for (name in c("bgformer_clusters", "bgformer_confidence")) {
    expect_error(SubclusterBGFormer(fit, "0", cluster.name = name, verbose = FALSE),
                 "is a column with the results of RunBGFormer")
  }
})
