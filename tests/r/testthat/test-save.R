fit <- run(seurat_object(), max_steps = 20)
folder <- file.path(tempfile("models-"), "reference")
SaveBGFormer(fit, folder)

test_that("Python reads what R saved, and predicts the same", {
  said <- python_says(
    counts, args = folder,
    "model = bgf.BGFormer.load(folder)",
    "print(*model.partition_.labels, *model.predict(adata), model.seed)"
  )
  labels <- as.character(fit$bgformer_clusters)
  expect_identical(said, c(labels, labels, "0"))
})

test_that("R predicts with what Python saved", {
  there <- tempfile("python-")
  said <- python_says(
    counts, args = there,
    "model = bgf.BGFormer(seed=3, max_steps=20, n_latent=8, verbose=False).fit(adata[::2])",
    "model.save(folder)", "print(*model.predict(adata))"
  )
  reference <- LoadBGFormer(there)
  expect_s3_class(reference, "bgformer")
  expect_identical(reference$seed, 3L)
  expect_output(print(reference), sprintf("%d cells in", ncol(counts) / 2))
  query <- PredictBGFormer(sce_object(), reference)
  expect_identical(as.character(query$bgformer_clusters), said)
})

test_that("after clustering again, Python and R read the new clusters and their evidence", {
  four <- ReclusterBGFormer(fit, n.clusters = 4)
  there <- tempfile("four-")
  SaveBGFormer(four, there)
  said <- python_says(
    counts, args = there,
    "model = bgf.BGFormer.load(folder)",
    "print(*model.predict(adata), *model.evidence_['n_markers'], model.partition_.n_considered)"
  )
  evidence <- Seurat::Tool(four, "RunBGFormer")$evidence
  expect_identical(said, c(as.character(four$bgformer_clusters), evidence$n_markers, "4"))
  loaded <- LoadBGFormer(there)
  expect_identical(loaded$evidence, evidence)
  expect_identical(PredictBGFormer(counts, loaded)$clusters, four$bgformer_clusters)
  expect_identical(ReclusterBGFormer(loaded)$evidence, Seurat::Tool(fit, "RunBGFormer")$evidence)
})

test_that("a model is the same after saving and loading", {
  loaded <- LoadBGFormer(folder)
  expect_identical(unname(loaded$clusters), unname(fit$bgformer_clusters))
  expect_equal(loaded$confidence, unname(fit$bgformer_confidence))
  expect_equal(loaded$embedding, unname(Seurat::Embeddings(fit, "bgformer")),
               ignore_attr = TRUE)
  expect_identical(levels(ReclusterBGFormer(loaded, n.clusters = 4)$clusters),
                   as.character(0:3))
  kept <- Seurat::Tool(fit, "RunBGFormer")
  same <- c("seed", "genes", "anchors", "anchor.clusters", "params", "evidence", "n.considered")
  expect_identical(loaded[same], kept[same])
  expect_identical(loaded$history$loss, kept$history$loss)
})

test_that("what is saved has the clusters and the cells that the object has now", {
  part <- ReclusterBGFormer(fit, n.clusters = 3)[, 101:200]
  there <- file.path(tempfile("parts-"), "part")
  SaveBGFormer(part, there)
  loaded <- LoadBGFormer(there)
  expect_identical(unname(loaded$clusters), unname(part$bgformer_clusters))
  sce <- run(sce_object(), max_steps = 20)
  SaveBGFormer(sce, there, overwrite = TRUE)
  expect_identical(unname(LoadBGFormer(there)$clusters), sce$bgformer_clusters)
  expect_identical(list.files(dirname(there), all.files = TRUE, no.. = TRUE), "part")
})

test_that("names and colours of clusters are saved, for R and for Python", {
  named <- fit
  levels(named$bgformer_clusters)[2] <- "next"
  there <- file.path(tempfile("named-"), "model")
  SaveBGFormer(named, there)
  loaded <- LoadBGFormer(there)
  expect_identical(levels(loaded$clusters), levels(named$bgformer_clusters))
  expect_identical(loaded$colours, Seurat::Tool(fit, "RunBGFormer")$colours)
  query <- PredictBGFormer(counts, loaded)
  expect_identical(as.character(query$clusters), unname(as.character(named$bgformer_clusters)))
  said <- python_says(counts, args = there, "bgf.tl.predict(adata, folder)",
                      "print(*adata.obs['bgformer'])")
  expect_identical(said, as.character(query$clusters))
})

test_that("nothing that is there is replaced unasked, and nothing but a model at all", {
  expect_match(error_of(SaveBGFormer(fit, folder)), "exists; choose another name, or replace")
  notes <- tempfile("notes-")
  dir.create(notes)
  writeLines("mine", file.path(notes, "a.txt"))
  expect_match(error_of(SaveBGFormer(fit, notes, overwrite = TRUE)),
               "exists and is not a saved model; choose another name")
  expect_identical(list.files(notes, all.files = TRUE, no.. = TRUE), "a.txt")
})

test_that("bad input is refused in one sentence", {
  expect_match(error_of(SaveBGFormer(seurat_object(), tempfile())), "has no bgformer model")
  expect_match(error_of(SaveBGFormer(1, tempfile())), "SaveBGFormer\\(\\) takes what")
  expect_match(error_of(SaveBGFormer(fit, c("a", "b"))), "path must be the name of one folder")
  bare <- fit
  bare[["bgformer"]] <- NULL
  expect_match(error_of(SaveBGFormer(bare, tempfile())),
               "'bgformer', which bgformer stored, is no longer in this object")
  expect_match(error_of(LoadBGFormer(tempfile())), "there is no saved model in")
  damaged <- tempfile("damaged-")
  dir.create(damaged)
  file.copy(list.files(folder, full.names = TRUE), damaged)
  writeLines("{", file.path(damaged, "model.json"))
  expect_match(error_of(LoadBGFormer(damaged)), "is damaged")
})
