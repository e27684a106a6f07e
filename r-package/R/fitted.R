# What an object keeps of its model: whether it is whole, and which part of it is of which cell.
# Cells are subset, reordered, renamed and merged by other packages, so neither their names nor
# their places say which they are; their latent does, because it goes wherever they go.

# A number for each cell, made from its latent. Products and sums are of two doubles each, in a
# fixed order, so that every platform and every subset of the cells gives the same.
cell_keys <- function(latent) {
  keys <- numeric(nrow(latent))
  for (at in seq_len(ncol(latent))) {
    keys <- keys + unname(latent[, at]) * (0.5 + (at * 0.6180339887498949) %% 1)
  }
  keys
}

# `fitted` with the weights, keys and latent of the cells that the object has now, in their order.
fitted_for <- function(fitted, object) {
  latent <- latent_of(fitted, object)
  cells <- if (inherits(object, "bgformer")) rownames(latent) else colnames(object)
  check_unique(cells, "cell", "this object", "make.unique() and call RunBGFormer() again")
  keys <- cell_keys(latent)
  at <- rows_of(keys, cells, fitted)
  check_known(at, keys, fitted)
  if (!identical(at, seq_len(nrow(fitted$weights)))) {
    fitted$weights <- fitted$weights[at, , drop = FALSE]
    fitted$labels <- fitted$labels[at]
  }
  rownames(fitted$weights) <- cells
  fitted$cell.keys <- keys
  fitted$embedding <- latent
  fitted
}

# Which stored row is of which cell. A cell with the name, or else the place, of a stored one is
# that one if the key says so; any other is looked for by its key alone.
rows_of <- function(keys, cells, fitted) {
  at <- seq_along(keys)
  if (!is.null(cells) && !is.null(rownames(fitted$weights))) {
    at <- match(cells, rownames(fitted$weights))
  }
  moved <- !((fitted$cell.keys[at] == keys) %in% TRUE)
  at[moved] <- match(keys[moved], fitted$cell.keys)
  at
}

# Every cell is one of the run, and none is there more often than it was then.
check_known <- function(at, keys, fitted) {
  if (anyNA(at)) {
    stop(sum(is.na(at)), " of ", length(at), " cells were not there when RunBGFormer() was called",
         if (!is.null(fitted$reduction.name)) {
           paste0(", or what the reduction '", fitted$reduction.name, "' holds of them has changed")
         }, "; call it again.", call. = FALSE)
  }
  known <- fitted$cell.keys
  times <- function(of) tabulate(match(of, known), length(known))
  extra <- if (anyDuplicated(keys)) sum(pmax(times(keys) - times(known), 0)) else 0
  if (extra > 0) {
    stop(extra, " of ", length(at), " cells are copies of others that were there once when ",
         "RunBGFormer() was called; remove the copies, or call it again.", call. = FALSE)
  }
}

# The latent of the cells that the object has now, in their order.
latent_of <- function(fitted, object) {
  if (inherits(object, "bgformer")) {
    return(object$embedding)
  }
  if (!fitted$reduction.name %in% reduction_names(object)) {
    stop("'", fitted$reduction.name, "', which bgformer stored, is no longer in this object; call ",
         "RunBGFormer().", call. = FALSE)
  }
  latent <- reduction_of(object, fitted$reduction.name)
  if (ncol(latent) != ncol(fitted$anchors)) {
    stop("the reduction '", fitted$reduction.name, "' has ", ncol(latent), " dimensions where ",
         "bgformer stored ", ncol(fitted$anchors), "; call RunBGFormer() again.", call. = FALSE)
  }
  latent
}

# Whether this is what kept() or as_result() made: RunBGFormer() overwrites nothing else.
is_ours <- function(kept) {
  is.list(kept) && any(c("model", "cluster.name") %in% names(kept))
}

check_whole <- function(kept, what) {
  for (parts in list(parts_of_model, parts_of_clusters, parts_of_evidence, parts_of_places)) {
    for (part in names(parts)) {
      if (!isTRUE(tryCatch(parts[[part]](kept), error = function(e) FALSE))) {
        stop("what bgformer stored in ", what, " is damaged or of an earlier version (its part '",
             part, "'); call RunBGFormer() again.", call. = FALSE)
      }
    }
  }
}

# How each part that is used must be. Whether the model belongs to the rest, Python checks.
parts_of_model <- list(
  model = function(kept) is.raw(kept$model) && length(kept$model) > 8,
  anchors = function(kept) is_finite_matrix(kept$anchors) && all(dim(kept$anchors) > 0),
  weights = function(kept) {
    inherits(kept$weights, "dgCMatrix") && isTRUE(methods::validObject(kept$weights, TRUE)) &&
      ncol(kept$weights) == nrow(kept$anchors) && nrow(kept$weights) > 0 &&
      all(abs(Matrix::rowSums(kept$weights) - 1) < 1e-6)
  }
)
parts_of_clusters <- list(
  cell.keys = function(kept) {
    is.double(kept$cell.keys) && length(kept$cell.keys) == nrow(kept$weights) &&
      all(is.finite(kept$cell.keys))
  },
  anchor.clusters = function(kept) {
    is.factor(kept$anchor.clusters) && length(kept$anchor.clusters) == nrow(kept$anchors) &&
      !anyNA(kept$anchor.clusters)
  },
  labels = function(kept) {
    is.integer(kept$labels) && length(kept$labels) == nrow(kept$weights) &&
      all(kept$labels >= 1 & kept$labels <= nlevels(kept$anchor.clusters), na.rm = TRUE)
  },
  colours = function(kept) {
    is.character(kept$colours) && length(kept$colours) == nlevels(kept$anchor.clusters)
  },
  anchor.support = function(kept) {
    is.numeric(kept$anchor.support) && length(kept$anchor.support) == nrow(kept$anchors) &&
      all(kept$anchor.support >= 0 & kept$anchor.support <= 1)
  }
)
parts_of_evidence <- list(
  evidence = function(kept) {
    n <- nlevels(kept$anchor.clusters)
    is.data.frame(kept$evidence) && nrow(kept$evidence) == n && is.numeric(kept$evidence$links) &&
      all(as.character(kept$evidence$nearest) %in% seq(0, n - 1))
  },
  seed = function(kept) is_number(kept$seed) && kept$seed >= 0,
  resolution = function(kept) {
    identical(kept$resolution, NaN) || (is_number(kept$resolution) && kept$resolution > 0)
  },
  n.considered = function(kept) is_whole(kept$n.considered) && kept$n.considered > 0
)
# Where the results are in an object; a list of class bgformer has none of these.
parts_of_places <- list(
  cluster.name = function(kept) is.null(kept$cluster.name) || is_name(kept$cluster.name),
  run.name = function(kept) is.null(kept$run.name) || is_name(kept$run.name),
  reduction.name = function(kept) is.null(kept$cluster.name) || is_name(kept$reduction.name),
  umap.name = function(kept) is.null(kept$umap.name) || is_name(kept$umap.name),
  columns = function(kept) is.null(kept$columns) || is.character(kept$columns),
  reductions = function(kept) is.null(kept$reductions) || is.character(kept$reductions)
)

# Of a list of class bgformer, which holds the cells' results too.
check_cells_of_list <- function(result) {
  n <- NROW(result$embedding)
  whole <- c(
    embedding = is_finite_matrix(result$embedding) &&
      ncol(result$embedding) == ncol(result$anchors),
    clusters = is.factor(result$clusters) && length(result$clusters) == n &&
      identical(names(result$clusters), rownames(result$embedding)),
    confidence = is.numeric(result$confidence) && length(result$confidence) == n
  )
  if (!all(whole)) {
    stop("'", names(whole)[!whole][1], "' of this list of class 'bgformer' is damaged, or is not ",
         "of all its cells; call RunBGFormer() again.", call. = FALSE)
  }
}

is_finite_matrix <- function(x) {
  is.matrix(x) && is.numeric(x) && all(is.finite(x))
}
