spoilt <- function(value, matrix = counts) {
  matrix@x[1] <- value
  matrix
}

test_that("values that are not counts are named, with gene and cell", {
  for (value in list(-1, 0.5, NA, Inf, 2^24 + 1, 1e300)) {
    said <- error_of(run(spoilt(value)))
    expect_match(said, sprintf("in gene '%s', cell '%s'", rownames(counts)[counts@i[1] + 1],
                               colnames(counts)[1]), fixed = TRUE)
  }
  expect_match(error_of(run(spoilt(-1))), "the matrix holds negative values \\(-1 in gene")
  expect_match(error_of(run(spoilt(0.5))), "values that are not whole numbers \\(0.5 in gene")
  expect_match(error_of(run(spoilt(NA))), "values that are missing or infinite \\(NA in gene")
  expect_match(error_of(run(spoilt(Inf))), "values that are missing or infinite \\(Inf in gene")
})

test_that("a layer that looks like counts is suggested", {
  object <- Seurat::NormalizeData(seurat_object(), verbose = FALSE)
  said <- error_of(run(object, layer = "data"))
  expect_match(said, "layer 'data' of assay 'RNA' holds values that are not whole numbers")
  expect_match(said, "layer 'counts' looks like counts: use layer = \"counts\"", fixed = TRUE)
  sce <- sce_object()
  SummarizedExperiment::assay(sce, "logcounts") <- log1p(counts)
  expect_match(error_of(run(sce, layer = "logcounts")),
               "assay 'counts' looks like counts: use layer = \"counts\"", fixed = TRUE)
  expect_match(error_of(run(log1p(counts))), "give the raw counts, before normalisation")
})

test_that("a wrong assay or layer is named, with those that are there", {
  expect_match(error_of(run(seurat_object(), assay = "ADT")),
               "assay 'ADT' is not in the object (there: 'RNA')", fixed = TRUE)
  expect_match(error_of(run(seurat_object(), layer = "raw")),
               "assay 'RNA' has no layer 'raw' (there: 'counts'", fixed = TRUE)
  expect_match(error_of(run(sce_object(), layer = "raw")),
               "assay 'raw' is not in the object (there: 'counts')", fixed = TRUE)
})

test_that("a wrong batch is named", {
  expect_match(error_of(run(seurat_object(), batch.var = "dnor")),
               "batch.var = 'dnor' is not a column of the cells' metadata (there: 'orig.ident'",
               fixed = TRUE)
  expect_match(error_of(run(sce_object(), batch.var = "dnor")), "(there: 'donor')", fixed = TRUE)
  expect_match(error_of(run(counts, batch.var = "donor")),
               "batch.var has 1 values for 234 cells")
  object <- seurat_object()
  object$donor[1:2] <- NA
  expect_match(error_of(run(object, batch.var = "donor")),
               "batch.var: 2 of 234 cells have no batch")
})

test_that("what Python refuses is said in R's words", {
  expect_match(error_of(run(seurat_object(), n.clusters = 0)), "^n.clusters is 0")
  expect_match(error_of(run(seurat_object(), n.clusters = 3, resolution = 1)),
               "resolution or n.clusters", fixed = TRUE)
  caught <- tryCatch(run(counts, n.clusters = 1000), bgformer_error = identity)
  expect_identical(caught$code, "too-many-clusters")
})

test_that("features that are not there are named", {
  expect_match(error_of(run(seurat_object(), features = c("NKG7", "nkg7", "foo"))),
               "2 of 3 features are not genes of layer 'counts' of assay 'RNA' ('nkg7', 'foo')",
               fixed = TRUE)
  expect_match(error_of(run(seurat_object(), features = rownames(counts)[1:3])),
               "have no counts in the features given of layer 'counts'", fixed = TRUE)
})

test_that("names that cannot be stored under are refused", {
  expect_match(error_of(run(seurat_object(), reduction.key = "B-F")), "reduction.key must be")
  expect_match(error_of(run(seurat_object(), reduction.name = "")), "reduction.name must be")
  expect_match(error_of(run(seurat_object(), reduction.name = "a b")),
               "'a b' is not a name that Seurat keeps; choose another, such as 'a.b'")
  expect_match(error_of(run(seurat_object(), reduction.name = "RNA")),
               "reduction.name = 'RNA' is the name of an assay")
  expect_match(error_of(run(seurat_object(), cluster.name = 1)), "cluster.name must be")
})

test_that("duplicated names are named", {
  cells <- counts
  colnames(cells)[2] <- colnames(cells)[1]
  expect_match(error_of(run(cells)),
               sprintf("1 cell names of the matrix are duplicated \\(the first: '%s'\\)",
                       colnames(cells)[1]))
  genes <- counts
  rownames(genes)[2] <- rownames(genes)[1]
  expect_match(error_of(run(sce_object(genes))),
               "1 gene names of assay 'counts' are duplicated \\(the first: 'HES4'\\)")
})

test_that("names that are missing are refused", {
  cells <- counts
  colnames(cells)[3] <- NA
  expect_match(error_of(run(cells)),
               "1 of 234 cell names of the matrix are missing (the first: number 3)", fixed = TRUE)
  genes <- counts
  rownames(genes)[1:2] <- NA
  expect_match(error_of(run(genes)), "2 of [0-9]+ gene names of the matrix are missing")
})

test_that("columns and reductions of the user are not written over", {
  object <- seurat_object()
  expect_match(error_of(run(object, cluster.name = "nCount_RNA")),
               "would write over the column 'nCount_RNA', which is not from bgformer; choose")
  object$type_confidence <- 1
  expect_match(error_of(run(object, cluster.name = "type_clusters")),
               "cluster.name = 'type_clusters' would write over the column 'type_confidence'")
  embedding <- matrix(0, 234, 2, dimnames = list(colnames(counts), c("PC_1", "PC_2")))
  object[["pca"]] <- Seurat::CreateDimReducObject(embedding, key = "PC_", assay = "RNA")
  expect_match(error_of(run(object, reduction.name = "pca")),
               "reduction.name = 'pca' would write over the reduction 'pca', which is not from")
  sce <- sce_object()
  SingleCellExperiment::reducedDim(sce, "PCA") <- embedding
  expect_match(error_of(run(sce, reduction.name = "PCA")), "would write over the reduction 'PCA'")
  expect_match(error_of(run(sce, cluster.name = "donor")), "would write over the column 'donor'")

  # what earlier runs wrote, under whatever names, may be written again
  for (object in list(object, sce)) {
    object <- run(object, cluster.name = "mine", reduction.name = "latent")
    object <- ReclusterBGFormer(object, n.clusters = 2, cluster.name = "two")
    expect_match(error_of(ReclusterBGFormer(object, cluster.name = "donor")), "column 'donor'")
    object <- run(run(object), cluster.name = "mine", reduction.name = "latent")
    expect_identical(nlevels(ReclusterBGFormer(object, n.clusters = 3, cluster.name = "two")$two),
                     3L)
  }
})

test_that("what the user has under the default names is not written over", {
  for (object in list(seurat_object(), sce_object())) {
    object$bgformer_clusters <- "mine"
    expect_match(error_of(run(object)), "would write over the column 'bgformer_clusters'")
    object$bgformer_confidence <- 7
    expect_match(error_of(run(object)), "would write over the column 'bgformer_clusters'")
  }
  object <- seurat_object()
  embedding <- matrix(0, 234, 2, dimnames = list(colnames(counts), c("MINE_1", "MINE_2")))
  object[["bgformer"]] <- Seurat::CreateDimReducObject(embedding, key = "MINE_", assay = "RNA")
  expect_match(error_of(run(object)), "would write over the reduction 'bgformer'")
  expect_match(error_of(run(seurat_object(), cluster.name = "x", reduction.name = "x")),
               "reduction.name and cluster.name are both 'x'")
})

test_that("cells without counts, too few cells and empty matrices are refused", {
  empty <- counts
  empty[, 5] <- 0
  expect_match(error_of(run(empty)), sprintf("1 of 234 cells have no counts.*'%s'",
                                             colnames(counts)[5]))
  expect_match(error_of(run(counts[, 1:5])), "5 cells are too few")
  expect_match(error_of(run(counts[0, ])), "the matrix is empty (0 genes x 234 cells)",
               fixed = TRUE)
  expect_match(error_of(run(counts[, 0])), "the matrix is empty")
})

test_that("settings that cannot be used are refused", {
  expect_match(error_of(run(counts, n.clusters = 1000)),
               "n.clusters is 1000, but there are only 234 cells")
  expect_match(error_of(run(counts, n.clusters = 2.5)), "n.clusters must be one whole number")
  expect_match(error_of(run(counts, resolution = "high")), "resolution must be one number")
  expect_match(error_of(run(counts, resolution = -1)), "resolution is -1")
  expect_match(error_of(run(counts, seed.use = NULL)), "seed.use must be one whole number")
  expect_match(error_of(run(counts, seed.use = "a")), "seed.use must be one whole number")
  expect_match(error_of(run(counts, device = "abacus")), "abacus")
  for (device in list(1, c("cpu", "cuda"), NA, NA_character_, NULL)) {
    expect_match(error_of(run(counts, device = device)), "device must be \"auto\", \"cpu\" or")
  }
  for (verbose in list("no", NA, 1, NULL)) {
    expect_match(error_of(run(seurat_object(), verbose = verbose)), "verbose must be TRUE or FALSE")
  }
  expect_match(error_of(run(counts, steps = 5)),
               "RunBGFormer() has no argument 'steps'; further arguments are max_steps",
               fixed = TRUE)
  expect_match(error_of(RunBGFormer(seurat_object(), NULL, "counts", NULL, 3, NULL, NULL, "b",
                                    "B_", "c", "cpu", 1L, FALSE, 5)),
               "further arguments of RunBGFormer() must be named", fixed = TRUE)
})

test_that("arguments that go by another name here are pointed out", {
  for (object in list(counts, seurat_object(), sce_object())) {
    expect_match(error_of(run(object, seed = 7, seed.use = 1)),
                 "has no argument 'seed'; use `seed.use`.", fixed = TRUE)
    expect_match(error_of(run(object, n_clusters = 3)), "use `n.clusters`")
    expect_match(error_of(run(object, batch_key = "donor")), "use `batch.var`")
    expect_match(error_of(run(object, copy = TRUE)), "has no argument 'copy'")
    expect_match(error_of(run(object, key_added = "x")), "has no argument 'key_added'")
  }
  expect_match(error_of(run(seurat_object(), slot = "data")),
               "RunBGFormer() has no argument 'slot'; use `layer`.", fixed = TRUE)
  expect_match(error_of(run(counts, layer = "counts")), "give the matrix of counts itself")
})

test_that("a GPU asked for where there is none is refused", {
  if (!reticulate::import("torch")$cuda$is_available()) {
    expect_match(error_of(run(counts, device = "cuda")), "cuda")
  } else {
    expect_s3_class(run(counts, device = "cuda"), "bgformer")
  }
})

test_that("an object of another class is named", {
  expect_match(error_of(run(data.frame(a = 1))), "this is of class 'data.frame'")
  expect_match(error_of(run("counts.h5ad")), "this is of class 'character'")
  expect_match(error_of(run(matrix(letters, 2))), "values of type 'character'")
})

test_that("no value of any argument ends in a message of R's own", {
  odd <- list(NULL, NA, NA_character_, list("counts"), c("a", "b"), factor("counts"), "", 1, TRUE,
              "b\xe9b\xe9", identity)
  for (value in odd) {
    for (object in list(seurat_object(), sce_object())) {
      expect_match(error_of(run(object, layer = value)), "^(layer must be one name|assay)")
      expect_match(error_of(run(object, cluster.name = value)), "^cluster.name must be one name")
    }
    if (!is.null(value)) {
      expect_match(error_of(run(seurat_object(), assay = value)), "^assay must be one name")
      expect_match(error_of(run(counts, features = value)), "features")
      expect_match(error_of(run(counts, max.steps = value, max_steps = NULL)), "given twice")
    }
  }
  for (value in odd[-8]) {
    expect_match(error_of(run(counts, max_steps = value)), "^max_steps ")
  }
  expect_match(error_of(run(seurat_object(), layer = NULL)), "it is NULL.", fixed = TRUE)
  expect_match(error_of(run(counts, batch.var = as.list(seq_len(ncol(counts))))),
               "batch.var must be a vector or factor with one value per cell; it is of class")
})

test_that("names that are not UTF-8 are said to be, and those marked latin1 are translated", {
  genes <- cells <- counts
  rownames(genes)[2] <- "g\xe9ne"
  expect_match(error_of(run(genes)), paste(
    "1 of [0-9]+ gene names of the matrix are not valid UTF-8",
    "\\(the first: 'g\\\\(xe9|351)ne'\\); convert them" # the latter in the C locale
  ))
  colnames(cells)[3] <- "c\xe9ll"
  expect_match(error_of(run(sce_object(cells))), "1 of 234 cell names of assay 'counts' are not")
  batch <- rep(c("a", "b\xe9"), length.out = ncol(counts))
  expect_match(error_of(run(counts, batch.var = batch)), "1 of 2 batch names of batch.var are not")
  expect_match(error_of(LoadBGFormer("mod\xe8le")), "which is not valid UTF-8")
  Encoding(rownames(genes)) <- "latin1"
  expect_true("g\u00e9ne" %in% run(genes, n_top_genes = nrow(genes))$genes)
})

test_that("names with line breaks leave messages on one line", {
  odd <- counts
  dimnames(odd) <- list(paste0("gene\n", seq_len(nrow(odd))), paste0("cell\t\n", seq_len(234)))
  expect_match(error_of(run(spoilt(-1, odd))), "cell 'cell\\t\\n1'", fixed = TRUE)
  expect_match(error_of(LoadBGFormer("no\nsuch")), "there is no saved model in")
})

test_that("a sparse matrix with indices out of range is refused before it is read", {
  odd <- counts
  odd@i[5] <- nrow(odd) + 7L
  expect_match(error_of(run(odd)), "the matrix of class 'dgCMatrix' is damaged")
  sce <- sce_object()
  sce@assays@data@listData$counts <- odd
  expect_match(error_of(run(sce)), "^assay 'counts', .*, cannot be read \\(invalid class")
})

test_that("a failed run leaves nothing behind", {
  object <- seurat_object()
  kept <- object
  set.seed(1)
  random <- .Random.seed
  before <- ls(globalenv(), all.names = TRUE)
  error_of(run(object, n_latent = 3)) # Python refuses it, after the conversion
  error_of(run(object, n.clusters = 1000))
  expect_identical(object, kept)
  expect_identical(.Random.seed, random)
  expect_identical(ls(globalenv(), all.names = TRUE), before)
  expect_identical(ls(get("bridge", asNamespace("bgformer"))), character())
})
