# A table as Python wrote it, with columns of the types that they have in R.
read_table <- function(file) {
  texts <- c("cluster", "nearest", "markers", "parent", "from", "to")
  header <- strsplit(readLines(file, n = 1), "\t")[[1]]
  types <- setNames(rep(NA_character_, length(header)), header)
  types[intersect(header, texts)] <- "character"
  types[intersect(header, c("links", "share", "resolution", "resolution_from"))] <- "numeric"
  table <- utils::read.delim(file, na.strings = "", quote = "", colClasses = types)
  if ("markers" %in% header) table$markers[is.na(table$markers)] <- ""
  if ("supported" %in% header) table$supported <- table$supported == "True"
  table
}

# What bgformer.tl.cluster says in a Python of its own, of the counts in a file.
python_says <- function(counts, python) {
  folder <- tempfile("same-")
  dir.create(folder)
  Matrix::writeMM(counts, file.path(folder, "counts.mtx"))
  donor <- rep(c("a", "b"), length.out = ncol(counts))
  writeLines(rownames(counts), file.path(folder, "genes.txt"))
  writeLines(donor, file.path(folder, "donor.txt"))
  script <- file.path(folder, "cluster.py")
  writeLines(c(
    "import sys",
    "sys.path.insert(0, sys.argv[1])",
    "import bgformer as bgf, anndata, numpy, pathlib, scipy.io",
    "folder = pathlib.Path(sys.argv[2])",
    "adata = anndata.AnnData(scipy.io.mmread(folder / 'counts.mtx').T.tocsr())",
    "adata.var_names = (folder / 'genes.txt').read_text().split()",
    "adata.obs['donor'] = (folder / 'donor.txt').read_text().split()",
    "for name, batch in ('plain', None), ('batch', 'donor'):",
    "    bgf.tl.cluster(adata, max_steps=20, batch_key=batch, verbose=False)", # its default seed
    "    (folder / f'{name}.labels').write_text('\\n'.join(adata.obs['bgformer']) + '\\n')",
    "    numpy.savetxt(folder / f'{name}.latent', adata.obsm['X_bgformer'])",
    "    bgf.tl.umap(adata)",
    "    numpy.savetxt(folder / f'{name}.umap', adata.obsm['X_bgformer_umap'])",
    "    numpy.savetxt(folder / f'{name}.confidence', adata.obs['bgformer_confidence'])",
    "    evidence = adata.uns['bgformer']['evidence']",
    "    evidence.to_csv(folder / f'{name}.evidence', sep='\\t', index=False)",
    "    for what, table in bgf.tl.tree(adata)._asdict().items():",
    "        table.to_csv(folder / f'{name}.{what}', sep='\\t', index=False)"
  ), script)
  status <- system2(python, shQuote(c(script, system.file(
    "python", package = "bgformer"
  ), folder)))
  stopifnot(status == 0)
  sapply(c("plain", "batch"), simplify = FALSE, function(case) {
    read <- function(what) file.path(folder, paste0(case, ".", what))
    list(labels = readLines(read("labels")),
         latent = unname(as.matrix(utils::read.table(read("latent")))),
         umap = unname(as.matrix(utils::read.table(read("umap")))),
         confidence = scan(read("confidence"), quiet = TRUE),
         evidence = read_table(read("evidence")), nodes = read_table(read("nodes")),
         edges = read_table(read("edges")))
  })
}

python <- python_says(counts, python_in_use())

test_that("labels, embedding, confidence and evidence are those of Python, batches or not", {
  for (case in c("plain", "batch")) {
    object <- run(seurat_object(), max_steps = 20, batch.var = if (case == "batch") "donor")
    says <- python[[case]]
    expect_identical(as.character(object$bgformer_clusters), says$labels, info = case)
    expect_lt(max(abs(says$latent - unname(Seurat::Embeddings(object, "bgformer")))), 1e-5)
    expect_lt(max(abs(says$confidence - object$bgformer_confidence)), 1e-5)
    expect_equal(Seurat::Tool(object, "RunBGFormer")$evidence, says$evidence, tolerance = 1e-12,
                 info = case)
  }
})

test_that("the UMAP is that of Python, batches or not, in every kind of object", {
  object <- RunBGFormerUMAP(run(seurat_object(), max_steps = 20, batch.var = "donor"))
  umap <- Seurat::Embeddings(object, "bgformer_umap")
  expect_lt(max(abs(python$batch$umap - unname(umap))), 1e-5)
  sce <- RunBGFormerUMAP(run(sce_object(), max_steps = 20))
  umap <- SingleCellExperiment::reducedDim(sce, "BGFORMER_UMAP")
  expect_lt(max(abs(python$plain$umap - unname(umap))), 1e-5)
  result <- RunBGFormerUMAP(run(counts, max_steps = 20))
  expect_lt(max(abs(python$plain$umap - unname(result$umap))), 1e-5)
})

test_that("labels are those of Python from a matrix, an Assay and a SingleCellExperiment", {
  expect_identical(as.character(run(counts, max_steps = 20)$clusters), python$plain$labels)
  for (object in list(seurat_object(Seurat::CreateAssayObject(counts)), sce_object())) {
    expect_identical(as.character(run(object, max_steps = 20)$bgformer_clusters),
                     python$plain$labels, info = class(object))
  }
})

test_that("labels are those of Python from an Assay5, whole and split", {
  skip_if_not(seurat5)
  whole <- seurat_object(getExportedValue("SeuratObject", "CreateAssay5Object")(counts))
  for (object in list(whole, split_object())) {
    expect_s4_class(object[["RNA"]], "Assay5")
    for (case in c("plain", "batch")) {
      object <- run(object, max_steps = 20, batch.var = if (case == "batch") "donor")
      expect_identical(as.character(object$bgformer_clusters), python[[case]]$labels, info = case)
    }
  }
})

test_that("the cluster tree is that of Python, for every kind of object", {
  for (object in list(seurat_object(), sce_object(), counts)) {
    tree <- ClusterTree(run(object, max_steps = 20))
    expect_equal(tree$nodes, python$plain$nodes, tolerance = 1e-12, info = class(object))
    expect_equal(tree$edges, python$plain$edges, tolerance = 1e-12, info = class(object))
  }
})
