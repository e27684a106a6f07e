test_that("labels and embedding are those of bgformer.tl.cluster in a Python of its own", {
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
    "    bgf.tl.cluster(adata, seed=42, max_steps=20, batch_key=batch, verbose=False)",
    "    (folder / f'{name}.labels').write_text('\\n'.join(adata.obs['bgformer']) + '\\n')",
    "    numpy.savetxt(folder / f'{name}.latent', adata.obsm['X_bgformer'])",
    "    numpy.savetxt(folder / f'{name}.confidence', adata.obs['bgformer_confidence'])"
  ), script)
  expect_identical(system2(python_in_use(), shQuote(c(script, system.file(
    "python", package = "bgformer"
  ), folder))), 0L)

  read <- function(name) file.path(folder, name)
  for (case in c("plain", "batch")) {
    object <- run(seurat_object(), seed.use = 42L, max_steps = 20,
                  batch.var = if (case == "batch") "donor")
    labels <- readLines(read(paste0(case, ".labels")))
    expect_identical(as.character(object$bgformer_clusters), labels, info = case)
    latent <- unname(as.matrix(utils::read.table(read(paste0(case, ".latent")))))
    difference <- max(abs(latent - unname(Seurat::Embeddings(object, "bgformer"))))
    expect_lt(difference, 1e-5)
    expect_lt(max(abs(scan(read(paste0(case, ".confidence")), quiet = TRUE) -
                        object$bgformer_confidence)), 1e-5)
  }
})
