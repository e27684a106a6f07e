# From counts to named clusters: runs the twelve lines of vignettes/name-the-clusters.Rmd on the set
# pbmc3k, and compares the names with the known types.
#   Rscript benchmarks/name_clusters.R
# Run it from the root of the repository. It reads pbmc3k.h5ad from the folder in the environment
# variable BGFORMER_DATA, in place of the download that the vignette reads. It prints the number of
# lines, the adjusted Rand index, the cells of each type under each name, and for each textbook
# marker the clusters that have it among their ten best genes.

path <- file.path(Sys.getenv("BGFORMER_DATA"), "pbmc3k.h5ad")
if (!file.exists(path)) {
  stop("there is no file '", path, "'; set BGFORMER_DATA to its folder.", call. = FALSE)
}
read <- reticulate::import_from_path("read_cells", "demo")$read_cells(path, "cell_type")
matrix <- methods::new(
  "dgCMatrix", x = as.numeric(read$x), i = as.integer(read$i), p = as.integer(read$p),
  Dim = c(length(read$genes), length(read$cells)), Dimnames = list(read$genes, read$cells)
)

page <- readLines(file.path("vignettes", "name-the-clusters.Rmd"))
from <- grep("^```\\{r pbmc3k", page) + 1
lines <- page[from:(from + match("```", page[from:length(page)]) - 2)]
cat("lines:", length(lines), "\n")

run <- list2env(list(counts = matrix), parent = globalenv())
suppressPackageStartupMessages(suppressWarnings(suppressMessages({ # of names with "_"
  for (call in parse(text = lines[!grepl("Read10X", lines)])) eval(call, run)
})))
names <- SeuratObject::Idents(run$object)
types <- setNames(read$labels, read$cells)[names(names)]
counts <- table(type = types, name = names)

adjusted_rand <- function(counts) {
  pairs <- function(n) sum(choose(n, 2))
  expected <- pairs(rowSums(counts)) * pairs(colSums(counts)) / choose(sum(counts), 2)
  most <- (pairs(rowSums(counts)) + pairs(colSums(counts))) / 2
  (pairs(counts) - expected) / (most - expected)
}
cat("adjusted Rand index:", round(adjusted_rand(counts), 3), "\n")
print(counts)

textbook <- c("MS4A1", "CD79A", "LYZ", "S100A8", "GNLY", "NKG7", "CD8A", "CD8B", "FCGR3A", "FCER1A",
              "PPBP", "PF4")
named <- split(as.character(run$markers$cluster), run$markers$gene)
cat(sprintf("%-7s %s\n", textbook, vapply(named[textbook], paste, "", collapse = ", ")), sep = "")
