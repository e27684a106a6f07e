# Clusters counts with Seurat at its defaults. Called by methods.py:
#   Rscript benchmarks/seurat_clusters.R FOLDER SEED
# Reads FOLDER/counts.mtx (genes x cells) and writes FOLDER/clusters.txt, a label per line.
# The defaults of Seurat 4.3: 2000 variable genes (vst), 50 PCs of which FindNeighbors uses 1 to 10,
# 20 neighbours, Louvain at resolution 0.8.

arguments <- commandArgs(trailingOnly = TRUE)
folder <- arguments[1]
seed <- as.integer(arguments[2])
suppressPackageStartupMessages(library(Seurat))

counts <- as(Matrix::readMM(file.path(folder, "counts.mtx")), "CsparseMatrix")
dimnames(counts) <- list(paste0("gene", seq_len(nrow(counts))),
                         paste0("cell", seq_len(ncol(counts))))
object <- CreateSeuratObject(counts)
object <- NormalizeData(object, verbose = FALSE)
object <- FindVariableFeatures(object, verbose = FALSE)
object <- ScaleData(object, verbose = FALSE)
object <- RunPCA(object, seed.use = seed, verbose = FALSE)
object <- FindNeighbors(object, verbose = FALSE)
object <- FindClusters(object, random.seed = seed, verbose = FALSE)
writeLines(as.character(Idents(object)), file.path(folder, "clusters.txt"))
