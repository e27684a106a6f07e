# BGFormerReport(): the file has the clusters of this object, and nothing else is lost.

# What the page holds, as page/packing.py packs it.
unpacked <- function(file) {
  python <- reticulate::py_run_string(local = TRUE, "
def unpacked(path):
    import base64, gzip, json, re, struct
    text = open(path, encoding='utf-8').read()
    raw = gzip.decompress(base64.b64decode(re.search('id=\"data\">([^<]*)<', text)[1]))
    (length,) = struct.unpack('<I', raw[:4])
    said = json.loads(raw[4 : 4 + length])
    of = said['arrays']['labels']
    return {'said': said, 'labels': list(raw[4 + length + of['start'] :][: of['length']])}
")
  found <- python$unpacked(file)
  found$labels <- matrix(unlist(found$labels), nrow = length(found$said$cells))
  found
}

test_that("every stop has the clusters of ReclusterBGFormer()", {
  file <- tempfile(fileext = ".html")
  object <- run(seurat_object(blood$counts), max_steps = 20)
  object$sample <- factor(rep(c("a", "b"), length.out = ncol(object)))
  object$barcode <- colnames(object)
  expect_identical(BGFormerReport(object, file), file)
  found <- unpacked(file)
  expect_identical(unlist(found$said$cells), colnames(object))
  for (at in c(1, 10, 20, 31)) {
    stop <- found$said$stops[[at]]
    again <- ReclusterBGFormer(object, resolution = stop$resolution)
    expect_identical(unlist(stop$names)[found$labels[, at] + 1],
                     as.character(again$bgformer_clusters))
  }
  columns <- vapply(found$said$columns, function(column) column$name, "")
  expect_true(all(c("nCount_RNA", "sample") %in% columns))
  expect_false(any(c("bgformer_clusters", "bgformer_confidence", "barcode") %in% columns))
  expect_identical(found$said$calls$R,
                   "object <- RunBGFormer(object, max_steps = 20L, seed.use = 0L)")
})

test_that("counts on disk, other names, and a SingleCellExperiment give a report, too", {
  skip_if_not_installed("SingleCellExperiment")
  file <- tempfile(fileext = ".html")
  sce <- run(sce_object())
  SummarizedExperiment::colData(sce)$bgformer_clusters <- factor(
    sub("^0$", "largest", as.character(SummarizedExperiment::colData(sce)$bgformer_clusters))
  )
  BGFormerReport(sce, file)
  found <- unpacked(file)$said
  stored <- Filter(function(stop) stop$stored, found$stops)[[1]]
  expect_identical(stored$names[[1]], "largest")
})

test_that("clusters that were changed cell by cell are not reported without a word", {
  file <- tempfile(fileext = ".html")
  object <- run(seurat_object(), resolution = 1)
  object$bgformer_clusters <- as.character(object$bgformer_clusters)
  object$bgformer_clusters[1:5] <- "doublet"
  expect_warning(BGFormerReport(object, file), "have been changed cell by cell since")
})

test_that("what is wrong is one sentence, and other files stay", {
  file <- tempfile(fileext = ".html")
  object <- run(seurat_object(blood$counts), max_steps = 20)
  expect_error(BGFormerReport(object, sub("html$", "pdf", file)), "must be named .html")
  expect_error(BGFormerReport(object, c("a", "b")), "the name of one file")
  expect_error(BGFormerReport(1, file), "takes a Seurat object or a SingleCellExperiment")
  expect_error(BGFormerReport(object, file, layer = "none"), "none")
  writeLines("mine", file)
  expect_error(BGFormerReport(object, file), "exists and is not a report of bgformer")
  expect_identical(readLines(file), "mine")
})
