#' Divide clusters again
#'
#' Fits a new model to the cells of one or several clusters alone. The model selects its own genes,
#' so it sees differences that the genes of all cells do not show. The parts of cluster `"0"` are
#' called `"0.0"`, `"0.1"`, and so on, the largest first; they can be divided again, into `"0.0.0"`
#' and so on. Dividing `"0"` again replaces all of its parts. The results of [RunBGFormer()] are not
#' changed.
#'
#' Where there is no evidence for a split, the cells keep the name of their cluster, and a warning
#' says how many parts were considered.
#'
#' [ReclusterBGFormer()] on a subset of the cells also divides a cluster. It needs no training and
#' no counts, but uses the anchors and genes of all cells.
#'
#' @param object A Seurat object or a SingleCellExperiment with the results of [RunBGFormer()].
#' @param cluster Name of a cluster, such as `"0"`, a part such as `"0.1"`, or a name that you gave.
#'   Several names are divided together, into `"0+3.0"`, `"0+3.1"`, and so on, as if they were one.
#' @param n.clusters Number of parts; `NULL` lets bgformer choose it.
#' @param resolution Resolution of the clustering; a higher one gives more parts. `NULL` splits only
#'   where there is evidence, as [RunBGFormer()] does.
#' @param cluster.name Column of the cells' metadata for all clusters, with those that were divided
#'   replaced by their parts. If the column is there from an earlier call, clusters in it are
#'   divided further. A column that bgformer did not write is never overwritten.
#' @inheritParams RunBGFormer
#' @param layer The layer or assay with the raw counts; see [RunBGFormer()].
#' @param ... Not used. Batches, seed and the other settings are those of [RunBGFormer()].
#'
#' @return The object with
#'   * the clusters and parts, a factor: `object$bgformer_subclusters`, which are also the
#'     `Idents()` of a Seurat object;
#'   * their confidence: `object$bgformer_subclusters_confidence`. Of cells in parts, it is the
#'     probability that the cell belongs to the dominant type of its part, given that it belongs to
#'     the cluster;
#'   * in `Tool(object, "RunBGFormer")$subclusters` or `metadata(object)$bgformer$subclusters`, a
#'     list by the name of the column: `splits`, a data frame of what was divided (`cluster`,
#'     `n_cells`, `n_clusters`, `n_considered`, `resolution`), and `evidence`, the table that
#'     [RunBGFormer()] describes, of the parts.
#'
#' @examplesIf bgformer_available() && requireNamespace("SeuratObject", quietly = TRUE)
#' \donttest{
#' blood <- readRDS(system.file("extdata", "pbmc700.rds", package = "bgformer"))
#' object <- SeuratObject::CreateSeuratObject(blood$counts)
#' object <- RunBGFormer(object, max_steps = 20, verbose = FALSE)
#' object <- SubclusterBGFormer(object, cluster = "0", n.clusters = 2, verbose = FALSE)
#' table(object$bgformer_subclusters)
#' }
#' @seealso [ReclusterBGFormer()] for another resolution of all clusters.
#' @export
SubclusterBGFormer <- function(object, ...) {
  UseMethod("SubclusterBGFormer")
}

#' @rdname SubclusterBGFormer
#' @export
SubclusterBGFormer.Seurat <- function(object, cluster, n.clusters = NULL, resolution = NULL,
                                      cluster.name = "bgformer_subclusters", assay = NULL,
                                      layer = "counts", device = "auto", verbose = TRUE, ...,
                                      separate.process = FALSE) {
  check_dots(...)
  check_settings(device, verbose, separate.process, NULL, list())
  results <- results_in(object, "SubclusterBGFormer")
  which <- to_divide(results, object, cluster, cluster.name)
  object <- keep_names(object, results)
  found <- counts_of_seurat(object, if (is.null(assay)) results$assay else assay, layer, verbose)
  settings <- list(n.clusters = n.clusters, resolution = resolution, device = device,
                   verbose = verbose)
  fitted <- fit_part(found, object, which, results, settings, separate.process)
  parts <- divided(which, fitted)
  object[[cluster.name]] <- setNames(parts$clusters, colnames(object))
  object[[confidence_name(cluster.name)]] <- setNames(parts$confidence, colnames(object))
  SeuratObject::Idents(object) <- setNames(parts$clusters, colnames(object))
  slot(object, "tools")[[tool_name]] <- with_parts(kept_seurat(object), results, which, fitted,
                                                   cluster.name, levels(parts$clusters))
  object
}

#' @rdname SubclusterBGFormer
#' @export
SubclusterBGFormer.SingleCellExperiment <- function(object, cluster, n.clusters = NULL,
                                                    resolution = NULL,
                                                    cluster.name = "bgformer_subclusters",
                                                    assay = NULL, layer = "counts",
                                                    device = "auto", verbose = TRUE, ...,
                                                    separate.process = FALSE) {
  check_dots(...)
  check_settings(device, verbose, separate.process, NULL, list())
  results <- results_in(object, "SubclusterBGFormer")
  which <- to_divide(results, object, cluster, cluster.name)
  found <- counts_of_sce(object, assay, layer)
  settings <- list(n.clusters = n.clusters, resolution = resolution, device = device,
                   verbose = verbose)
  fitted <- fit_part(found, object, which, results, settings, separate.process)
  parts <- divided(which, fitted)
  cells <- SummarizedExperiment::colData(object)
  cells[[cluster.name]] <- parts$clusters
  cells[[confidence_name(cluster.name)]] <- parts$confidence
  SummarizedExperiment::colData(object) <- cells
  S4Vectors::metadata(object)$bgformer <- with_parts(kept_sce(object), results, which, fitted,
                                                     cluster.name, levels(parts$clusters))
  object
}

#' @export
SubclusterBGFormer.default <- function(object, ...) {
  stop("SubclusterBGFormer() takes a Seurat object or a SingleCellExperiment; this is of class '",
       class(object)[1], "'. For a matrix, call RunBGFormer() on the columns of the cluster.",
       call. = FALSE)
}

# The cells of some clusters, with those of the parts that these were divided into before, and the
# clusters and confidence of all cells until now.
to_divide <- function(results, object, cluster, cluster.name) {
  check_names(cluster.name = cluster.name)
  cells <- cells_of(object)
  check_columns(cluster.name, cells, results)
  earlier <- results$subclusters[[cluster.name]]
  if (is.null(earlier) && any(column_names(cluster.name) %in% results$columns)) {
    stop("cluster.name = '", cluster.name, "' is a column with the results of RunBGFormer(); ",
         "choose another name.", call. = FALSE)
  }
  if (!is.null(earlier) && !identical(earlier$anchor.clusters, results$anchor.clusters)) {
    stop("the clusters have changed since '", cluster.name, "' was made from them; give another ",
         "cluster.name.", call. = FALSE)
  }
  before <- results[c("clusters", "confidence")]
  if (!is.null(earlier) && all(column_names(cluster.name) %in% colnames(cells))) {
    before <- list(clusters = parts_of(object, cells[[cluster.name]]),
                   confidence = cells[[confidence_name(cluster.name)]])
  }
  names <- as.character(before$clusters)
  wanted <- names_to_divide(cluster)
  own <- Reduce(`|`, lapply(wanted, function(name) {
    own <- cells_to_divide(name, names, as.character(results$clusters), earlier$splits)
    if (!any(own)) {
      stop("there is no cluster '", shown(name), "' (there: ",
           listed(intersect(levels(before$clusters), names), most = 20), ").", call. = FALSE)
    }
    own
  }))
  name <- paste(wanted, collapse = "+")
  shared <- intersect(names[own], names[!own])
  if (length(shared) > 0) {
    stop("cells of '", shown(name), "' were divided together with others, into '",
         shown(shared[1]), "'; to divide '", shown(name), "' alone, choose another cluster.name.",
         call. = FALSE)
  }
  if (sum(own) < least_cells) {
    stop("cluster '", shown(name), "' has ", sum(own), " cells, too few to divide; at least ",
         least_cells, " are needed.", call. = FALSE)
  }
  list(name = name, cells = own, before = before, earlier = earlier)
}

# Clusters and parts as they are called now: RenameIdents() may have renamed parts.
parts_of <- function(object, column) {
  column <- as.factor(column)
  if (inherits(object, "Seurat")) {
    names <- names_of_clusters(as.integer(column), SeuratObject::Idents(object), levels(column))
    if (length(unique(names)) > 1) {
      return(named_clusters(as.integer(column), names))
    }
  }
  column
}

# Which cells are of a cluster: one that is there, one of the results, or one that was divided.
# Names are the user's own, so a part cannot be told by how its name begins.
cells_to_divide <- function(cluster, names, first, splits) {
  if (cluster %in% names) {
    return(names == cluster)
  }
  if (cluster %in% first) {
    return(first == cluster)
  }
  parts <- sum(splits$n_clusters[splits$cluster == cluster])
  own <- lapply(paste0(cluster, ".", seq_len(parts) - 1)[seq_len(parts)], cells_to_divide,
                names = names, first = first, splits = splits)
  Reduce(`|`, own, rep(FALSE, length(names)))
}

# Fewer cannot say anything about clusters.
least_cells <- 20L

names_to_divide <- function(cluster) {
  if (is.factor(cluster)) {
    cluster <- as.character(cluster)
  }
  if (length(cluster) == 0 || anyNA(cluster) || !(is.character(cluster) || is.numeric(cluster))) {
    stop_for("cluster", cluster, "the name of a cluster, or several names")
  }
  unique(as.character(cluster))
}

# A fit to the cells alone, with the settings of the fit to all.
fit_part <- function(found, object, which, results, settings, separate.process) {
  found$counts <- found$counts[, which$cells, drop = FALSE]
  own <- results$params[c("n_top_genes", "n_latent", "max_steps", "min_cells")]
  own$min_cells <- min(own$min_cells, sum(which$cells))
  batch.var <- results$params$batch_key
  batch <- if (!is.null(batch.var)) batch_column(batch.var, cells_of(object))[which$cells]
  withCallingHandlers(
    fit_counts(found, NULL, batch, batch.var, c(settings, seed.use = results$seed, own), "BGF_",
               separate.process, NULL),
    warning = function(w) {
      said <- conditionMessage(w)
      if (startsWith(said, one_cluster)) {
        warning(sub(one_cluster, paste0("cluster '", which$name, "' is not divided"), said,
                    fixed = TRUE), call. = FALSE)
        invokeRestart("muffleWarning")
      }
    }
  )
}

# How Python's warning begins if there is no evidence for a split.
one_cluster <- "one cluster"

# All clusters, with some divided into those of a fit.
divided <- function(which, fitted) {
  clusters <- as.character(which$before$clusters)
  order <- levels(which$before$clusters)
  replaced <- unique(clusters[which$cells])
  parts <- paste0(which$name, ".", seq_len(nlevels(fitted$anchor.clusters)) - 1)
  if (length(parts) == 1) { # clusters that were looked at together stay apart
    parts <- if (!grepl("+", which$name, fixed = TRUE) || which$name %in% replaced) which$name
  }
  if (!is.null(parts)) {
    clusters[which$cells] <- parts[fitted$labels]
    before <- order[seq_len(min(match(replaced, order)) - 1)]
    order <- c(setdiff(before, parts), parts, setdiff(order, c(before, parts)))
  }
  confidence <- unname(which$before$confidence)
  confidence[which$cells] <- fitted$confidence
  list(clusters = factor(clusters, intersect(order, clusters)), confidence = confidence)
}

# A cluster and all parts that a table of splits knows of it.
parts_in <- function(splits, cluster) {
  n <- sum(splits$n_clusters[splits$cluster == cluster & splits$n_clusters > 1])
  parts <- paste0(cluster, ".", seq_len(n) - 1, recycle0 = TRUE)
  c(cluster, unlist(lapply(parts, parts_in, splits = splits)))
}

# What is kept of the model, with the evidence for the parts; `there` are all clusters and parts.
with_parts <- function(kept, results, which, fitted, cluster.name, there) {
  evidence <- fitted$evidence
  for (column in c("cluster", "nearest")) {
    evidence[[column]] <- paste0(which$name, ".", evidence[[column]])
  }
  if (nlevels(fitted$anchor.clusters) == 1) {
    evidence <- evidence[0, ]
  }
  split <- data.frame(cluster = which$name, n_cells = sum(which$cells),
                      n_clusters = nlevels(fitted$anchor.clusters),
                      n_considered = fitted$n.considered, resolution = fitted$resolution)
  earlier <- which$earlier
  if (!is.null(earlier)) {
    divided <- parts_in(earlier$splits, which$name)
    split <- rbind(earlier$splits[!earlier$splits$cluster %in% divided, ], split)
    others <- earlier$evidence[!earlier$evidence$cluster %in% evidence$cluster, ]
    evidence <- rbind(others[others$cluster %in% there, ], evidence)
  }
  rownames(split) <- rownames(evidence) <- NULL
  kept$subclusters[[cluster.name]] <- list(anchor.clusters = results$anchor.clusters,
                                           splits = split, evidence = evidence)
  kept$columns <- union(kept$columns, column_names(cluster.name))
  kept
}
