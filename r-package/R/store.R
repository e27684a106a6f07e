# Where results are put in each kind of object; RunBGFormer and ReclusterBGFormer both store here.

tool_name <- "RunBGFormer"

# What is kept beside the cells' columns: all that ReclusterBGFormer() needs, and the names of all
# columns and reductions that a run wrote, so that a later one writes over nobody else's.
kept <- function(result, cluster.name, reduction.name, earlier) {
  result <- unclass(result)
  result[c("clusters", "confidence", "embedding")] <- NULL
  result$cluster.name <- cluster.name
  result$reduction.name <- reduction.name
  result$columns <- union(earlier$columns, column_names(cluster.name))
  result$reductions <- union(earlier$reductions, reduction.name)
  result
}

column_names <- function(cluster.name) {
  c(cluster.name, confidence_name(cluster.name))
}

# The default names are bgformer's in any object: merging two drops what was kept, not the columns.
check_columns <- function(cluster.name, there, earlier) {
  check_own(column_names(cluster.name), there, c(column_names("bgformer_clusters"),
                                                 earlier$columns),
            "cluster.name", cluster.name, "column")
}

check_reduction <- function(reduction.name, there, earlier) {
  check_own(reduction.name, there, c("bgformer", "BGFORMER", earlier$reductions),
            "reduction.name", reduction.name, "reduction")
}

confidence_name <- function(cluster.name) {
  paste0(sub("_clusters$", "", cluster.name), "_confidence")
}

kept_seurat <- function(object) {
  slot(object, "tools")[[tool_name]]
}

kept_sce <- function(object) {
  S4Vectors::metadata(object)$bgformer
}

store_seurat <- function(object, result, cluster.name, reduction.name) {
  cells <- colnames(object)
  object[[cluster.name]] <- setNames(result$clusters, cells)
  object[[confidence_name(cluster.name)]] <- setNames(result$confidence, cells)
  SeuratObject::Idents(object) <- setNames(result$clusters, cells)
  # `Tool<-` names the entry after its caller, which ReclusterBGFormer() would change
  slot(object, "tools")[[tool_name]] <- kept(result, cluster.name, reduction.name,
                                             earlier = kept_seurat(object))
  object
}

store_sce <- function(object, result, cluster.name, reduction.name) {
  cells <- SummarizedExperiment::colData(object)
  cells[[cluster.name]] <- unname(result$clusters)
  cells[[confidence_name(cluster.name)]] <- unname(result$confidence)
  SummarizedExperiment::colData(object) <- cells
  S4Vectors::metadata(object)$bgformer <- kept(result, cluster.name, reduction.name,
                                               earlier = kept_sce(object))
  object
}
