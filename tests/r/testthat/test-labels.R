old <- seq(1, ncol(counts), by = 2)
type <- as.character(blood$cell_type)[match(colnames(counts), colnames(blood$counts))]
reference <- run(seurat_object(counts[, old]), max_steps = 20, resolution = 1)
reference$cell_type <- type[old]
new <- counts[, -old]
query <- PredictBGFormer(seurat_object(new), reference, labels = "cell_type")

test_that("new cells get the types of the reference, with a confidence", {
  expect_s3_class(query$cell_type, "factor")
  expect_named(query$cell_type, colnames(new))
  expect_identical(levels(query$cell_type), sort(unique(type[old])))
  right <- as.character(query$cell_type) == type[-old]
  expect_gt(mean(right), 0.7)
  confidence <- query$cell_type_confidence
  expect_true(all(confidence >= 0 & confidence <= 1))
  expect_gt(mean(confidence[right]), mean(confidence[!right]))
  without <- PredictBGFormer(seurat_object(new), reference)
  expect_identical(query$bgformer_clusters, without$bgformer_clusters)
  expect_identical(ReclusterBGFormer(query, n.clusters = 2)$cell_type, query$cell_type)
})

test_that("every kind of object gives and takes the same labels", {
  sce <- run(sce_object(counts[, old]), max_steps = 20)
  sce$cell_type <- type[old]
  sce <- PredictBGFormer(sce_object(new), sce, labels = "cell_type")
  expect_identical(sce$cell_type, unname(query$cell_type))
  expect_equal(sce$cell_type_confidence, unname(query$cell_type_confidence))
  list <- PredictBGFormer(new, reference, labels = "cell_type")
  expect_identical(list$predicted$cell_type, unname(query$cell_type))
})

test_that("they are those that Python predicts", {
  said <- python_says(
    counts, args = "",
    "old, new = adata[::2].copy(), adata[1::2].copy()",
    "bgf.tl.cluster(old, max_steps=20, verbose=False)",
    "old.obs['turn'] = [str(cell % 3) for cell in range(old.n_obs)]",
    "bgf.tl.predict(new, old, labels='turn')",
    "print(*new.obs['turn'], *new.obs['turn_confidence'])"
  )
  reference$turn <- rep(0:2, length.out = ncol(reference))
  found <- PredictBGFormer(new, reference, labels = "turn")$predicted
  n <- ncol(new)
  expect_identical(said[seq_len(n)], as.character(found$turn))
  expect_equal(as.numeric(said[-seq_len(n)]), found$turn_confidence, tolerance = 1e-4)
})

test_that("parts of clusters are labels, and labels are written over by labels alone", {
  parts <- SubclusterBGFormer(reference, "0", n.clusters = 2, verbose = FALSE)
  both <- c("cell_type", "bgformer_subclusters")
  predicted <- PredictBGFormer(query, parts, labels = both)
  expect_identical(predicted$cell_type, query$cell_type)
  expect_identical(levels(predicted$bgformer_subclusters), levels(parts$bgformer_subclusters))
  of_0 <- predicted$bgformer_clusters == "0"
  expect_gt(mean(predicted$bgformer_subclusters[of_0] %in% c("0.0", "0.1")), 0.9)
  typed <- seurat_object(new)
  typed$cell_type <- "mine"
  expect_match(error_of(PredictBGFormer(typed, reference, labels = "cell_type")),
               "would write over the column 'cell_type' of the query, which is not from bgformer")
})

test_that("cells near others without a label get none", {
  rarest <- utils::tail(levels(reference$bgformer_clusters), 1)
  reference$known <- ifelse(reference$bgformer_clusters == rarest, "rare", NA)
  found <- suppressWarnings(PredictBGFormer(new, reference, labels = "known"))
  expect_setequal(setdiff(levels(found$predicted$known), "unassigned"), "rare")
  confidence <- found$predicted$known_confidence
  none <- is.na(found$predicted$known)
  expect_true(all(confidence[none] == 0))
  expect_gt(mean(none), 0.5)
  expect_gt(mean(confidence[found$clusters == rarest]), 0.5)
  expect_lt(mean(confidence[found$clusters != rarest]), 0.3)
})

test_that("what is no label is refused in one sentence", {
  reference$none <- NA
  reference$size <- seq(0, 1, length.out = ncol(reference))
  reference$name <- colnames(reference)
  cases <- list(
    list("age", "labels = 'age' is not a column of the reference's cells \\(there: 'orig.ident'"),
    list(3, "labels must be the name of a column"),
    list("none", "has no labels"),
    list("size", "holds no labels, such as names of cell types"),
    list("name", "different labels, which [0-9]+ anchors cannot tell apart"),
    list("bgformer_clusters", "is where new cells get their clusters")
  )
  for (case in cases) {
    expect_match(error_of(PredictBGFormer(seurat_object(new), reference, labels = case[[1]])),
                 case[[2]])
  }
  expect_match(error_of(PredictBGFormer(new, run(counts), labels = "cell_type")),
               "labels needs cells that have them as reference")
})
