object <- seurat_object(blood$counts)
object$cell_type <- blood$cell_type
fit <- run(object, max_steps = 20)
markers <- BGFormerMarkers(fit)

test_that("markers have the columns of FindAllMarkers(), and the values of its t-test", {
  without <- fit
  slot(without, "tools") <- list()
  plain <- BGFormerMarkers(without)
  expect_false(attr(plain, "held.out"))
  normalised <- Seurat::NormalizeData(fit, verbose = FALSE)
  expected <- suppressMessages(suppressWarnings(Seurat::FindAllMarkers(
    normalised, test.use = "t", logfc.threshold = 0, min.pct = 0, return.thresh = 1.1,
    verbose = FALSE
  )))
  expect_named(markers, names(expected))
  expect_identical(levels(markers$cluster), levels(fit$bgformer_clusters))
  expect_true(all(table(markers$cluster) == nrow(object)))
  same <- function(table) paste(table$cluster, table$gene)
  expect_identical(same(plain), same(markers))
  found <- plain[match(same(expected), same(plain)), ]
  expect_equal(found$p_val, expected$p_val, tolerance = 1e-4)
  expect_lt(max(abs(found$pct.1 - expected$pct.1), abs(found$pct.2 - expected$pct.2)), 0.00051)
  expect_true(all(markers$p_val_adj >= markers$p_val))
})

test_that("p-values are from held-out counts if the object has a model of its cells", {
  expect_true(attr(markers, "held.out"))
  expect_warning(b <- BGFormerMarkers(fit, "cell_type"), "p-values of these clusters are 1")
  expect_true(attr(b, "held.out"))
  best <- b$gene %in% c("CD79A", "MS4A1") & b$cluster == "CD19+ B"
  expect_true(all(b$p_val_adj[best] < 1e-10))
  half <- fit[, seq(1, ncol(fit), by = 2)]
  expect_true(attr(BGFormerMarkers(half, n.genes = 1), "held.out"))
  fit[["bgformer"]] <- NULL # by which its cells are known
  expect_false(attr(BGFormerMarkers(fit, n.genes = 1), "held.out"))
  object$half <- rep(c("a", "b"), length.out = ncol(object))
  expect_false(attr(BGFormerMarkers(object, "half", n.genes = 1), "held.out"))
})

test_that("clusters that half of the counts do not find have p-values of 1", {
  fit$given <- as.character(fit$bgformer_clusters)
  fit$given[c(20, 200, 400)] <- "few"
  expect_warning(found <- BGFormerMarkers(fit, "given"),
                 "^the p-values of these clusters are 1, .*: 'few'\\.$")
  expect_true(all(found$p_val[found$cluster == "few"] == 1))
})

test_that("the fold change is that of the mean scaled counts", {
  cells <- t(t(as.matrix(blood$counts)) / Matrix::colSums(blood$counts) * 1e4)
  own <- fit$bgformer_clusters == "2"
  sums <- cbind(rowSums(cells[, own]), rowSums(cells[, !own])) + 1
  expected <- log2(sums[, 1] / sum(own) / (sums[, 2] / sum(!own)))
  of_2 <- markers[markers$cluster == "2", ]
  expect_equal(of_2$avg_log2FC, unname(expected[of_2$gene]), tolerance = 1e-5)
})

test_that("each kind of object has the same markers, in memory and on disk", {
  skip_if_not_installed("HDF5Array")
  few <- BGFormerMarkers(fit, n.genes = 3)
  by_cluster <- split(markers, markers$cluster)
  expect_identical(few$gene, unlist(lapply(by_cluster, function(table) table$gene[1:3]),
                                    use.names = FALSE))
  sce <- run(sce_object(blood$counts), max_steps = 20)
  expect_identical(BGFormerMarkers(sce, n.genes = 3), few)
  profiles <- BGFormerProfiles(sce)
  path <- withr::local_tempfile(fileext = ".h5")
  on_disk <- HDF5Array::writeHDF5Array(as.matrix(blood$counts), path, "counts")
  dimnames(on_disk) <- dimnames(blood$counts)
  SummarizedExperiment::assay(sce, "counts") <- on_disk
  expect_identical(BGFormerMarkers(sce, n.genes = 3), few)
  expect_identical(BGFormerProfiles(sce), profiles)
})

test_that("profiles are the means that Seurat computes", {
  profiles <- BGFormerProfiles(fit, "cell_type")
  expect_identical(dimnames(profiles), list(rownames(object), levels(blood$cell_type)))
  b <- Seurat::GetAssayData(Seurat::NormalizeData(fit, verbose = FALSE))[, fit$cell_type ==
                                                                           "CD19+ B"]
  expect_equal(profiles[, "CD19+ B"], log1p(Matrix::rowMeans(expm1(b))), tolerance = 1e-5)
})

test_that("names, subclusters and other columns are used", {
  named <- Seurat::RenameIdents(fit, `0` = "large", `1` = "next")
  expect_identical(levels(BGFormerMarkers(named, n.genes = 1)$cluster)[1:2], c("large", "next"))
  expect_identical(colnames(BGFormerProfiles(named)), levels(Seurat::Idents(named)))
  parts <- SubclusterBGFormer(fit, "0", n.clusters = 2, verbose = FALSE)
  expect_identical(levels(BGFormerMarkers(parts, n.genes = 1)$cluster)[1:3], c("0.0", "0.1", "1"))
  expect_identical(BGFormerMarkers(parts, "bgformer_clusters"), markers)
  expect_warning(best <- BGFormerMarkers(fit, cluster.name = "cell_type", n.genes = 10),
                 "p-values of these clusters are 1")
  expect_true(all(c("CD79A", "MS4A1") %in% best$gene[best$cluster == "CD19+ B"]))
  fit$number <- factor(as.numeric(fit$bgformer_clusters == "0"))
  expect_identical(levels(BGFormerMarkers(fit, "number", n.genes = 1)$cluster), c("0", "1"))
  half <- fit[, fit$bgformer_clusters %in% c("0", "1")]
  expect_identical(levels(BGFormerMarkers(half, n.genes = 1)$cluster), c("0", "1"))
})

test_that("a cluster of one cell is left out with a warning", {
  fit$given <- rep(c("a", "b", "c"), length.out = ncol(fit))
  fit$given[3] <- "alone"
  expect_warning(found <- BGFormerMarkers(fit, "given", n.genes = 2),
                 "^clusters with a single cell have no markers, .*: 'alone'\\.$")
  expect_identical(as.character(found$cluster), rep(c("a", "b", "c"), each = 2))
  only <- fit[, c(1, 3, 4)]
  expect_match(error_of(BGFormerMarkers(only, "given")), "cluster 'alone' has a single cell")
})

test_that("what cannot be used is one sentence", {
  expect_match(error_of(BGFormerMarkers(counts)), "takes a Seurat object or a SingleCellExperiment")
  expect_match(error_of(BGFormerProfiles(1)), "this is of class 'numeric'")
  expect_match(error_of(BGFormerMarkers(fit, "nope")), "'nope' is not a column of the cells'")
  for (ask in c(BGFormerMarkers, BGFormerProfiles)) {
    expect_match(error_of(ask(fit, cluster.name = "nCount_RNA")),
                 "^cluster.name = 'nCount_RNA' is a column of numbers, not of clusters")
  }
  expect_match(error_of(BGFormerMarkers(fit, n.genes = 0)), "n.genes is 0; it must be a whole")
  expect_match(error_of(BGFormerMarkers(fit, genes = 3)), "unknown argument 'genes'")
  expect_match(error_of(BGFormerMarkers(object)), "all cells are in one cluster")
  fit$half <- c(NA, rep("a", ncol(fit) - 1))
  expect_match(error_of(BGFormerMarkers(fit, "half")), "1 of 700 cells have no cluster")
  expect_match(error_of(BGFormerMarkers(sce_object())), "has no bgformer model")
})
