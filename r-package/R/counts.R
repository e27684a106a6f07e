# Where each kind of object holds its counts. What is found there: `counts`; and for messages
# about them `where`, and `hint`, a function that looks what else looks like counts.

counts_of_seurat <- function(object, assay, layer, verbose) {
  check_name(layer, "layer", "one name, such as \"counts\"")
  if (!is.null(assay)) {
    check_name(assay, "assay", "one name, such as \"RNA\"")
  }
  assay <- choose_assay(object, assay, layer, verbose)
  list(counts = seurat_counts(object, assay, layer),
       where = sprintf("layer '%s' of assay '%s'", shown(layer), shown(assay)),
       hint = function() suggest_layer(object, assay, layer), assay = assay)
}

# `assay` is another word for `layer` here.
counts_of_sce <- function(object, assay, layer) {
  check_name(if (is.null(assay)) layer else assay, if (is.null(assay)) "layer" else "assay",
             "one name, such as \"counts\"")
  if (!is.null(assay)) {
    layer <- assay
  }
  list(counts = sce_counts(object, layer), where = sprintf("assay '%s'", shown(layer)),
       hint = function() suggest_assay(object, layer))
}

counts_of_matrix <- function(matrix) {
  list(counts = matrix, where = "the matrix", hint = function() raw_counts)
}

raw_counts <- "give the raw counts, before normalisation and logarithm"

choose_assay <- function(object, assay, layer, verbose) {
  there <- SeuratObject::Assays(object)
  if (!is.null(assay)) {
    if (!assay %in% there) {
      stop("assay '", shown(assay), "' is not in the object (there: ", listed(there), ").",
           call. = FALSE)
    }
    return(assay)
  }
  assay <- SeuratObject::DefaultAssay(object)
  data <- object[[assay]]
  # the "counts" of SCTransform are corrected, not raw, and an integrated assay has none
  if (!inherits(data, "SCTAssay") && layer %in% layers_of(data)) {
    return(assay)
  }
  source <- intersect(c(source_of(data), "RNA"), there)
  if (length(source) == 0 || !layer %in% layers_of(object[[source[1]]])) {
    return(assay)
  }
  if (verbose) {
    message("The default assay '", assay, "' holds no raw counts: taking them from assay '",
            source[1], "'.")
  }
  source[1]
}

source_of <- function(data) {
  if (!inherits(data, "SCTAssay")) {
    return(NULL)
  }
  unique(unlist(lapply(data@SCTModel.list, function(model) model@umi.assay)))
}

# Names of the layers that hold something, of any version's assay; split layers count as one.
layers_of <- function(data) {
  if (inherits(data, "StdAssay")) {
    names <- seurat5("Layers")(data)
    split <- setdiff(names, "scale.data") # a name with a dot that is not of a part
    return(unique(c(names, sub("\\..*$", "", split))))
  }
  slots <- c("counts", "data", "scale.data")
  slots[vapply(slots, function(name) length(slot(data, name)) > 0, logical(1))]
}

# Seurat 4 lacks these, so they cannot be named as SeuratObject::Layers.
seurat5 <- function(name) {
  getExportedValue("SeuratObject", name)
}

seurat_counts <- function(object, assay, layer) {
  data <- object[[assay]]
  if (!layer %in% layers_of(data)) {
    stop("assay '", shown(assay), "' has no layer '", shown(layer), "' (there: ",
         listed(layers_of(data)), ").", call. = FALSE)
  }
  if (!inherits(data, "StdAssay")) {
    return(slot(data, layer))
  }
  if (!layer %in% seurat5("Layers")(data)) {
    data <- seurat5("JoinLayers")(data, layers = layer) # a copy; the caller's stays split
  }
  counts <- seurat5("LayerData")(data, layer = layer)
  if (ncol(counts) != ncol(object)) {
    stop("layer '", layer, "' of assay '", assay, "' has ", ncol(counts), " of the object's ",
         ncol(object), " cells; give a layer with all of them.", call. = FALSE)
  }
  if (identical(colnames(counts), colnames(object))) {
    return(counts) # ordering would copy them
  }
  counts[, colnames(object), drop = FALSE]
}

suggest_layer <- function(object, assay, layer) {
  for (name in setdiff(layers_of(object[[assay]]), layer)) {
    counts <- tryCatch(seurat_counts(object, assay, name), error = function(e) NULL)
    if (!is.null(counts) && looks_like_counts(counts)) {
      return(sprintf("layer '%s' looks like counts: use layer = \"%s\"", name, name))
    }
  }
  raw_counts
}

sce_counts <- function(object, name) {
  there <- SummarizedExperiment::assayNames(object)
  if (!name %in% there) {
    stop("assay '", shown(name), "' is not in the object (there: ", listed(there), ").",
         call. = FALSE)
  }
  where <- sprintf("assay '%s'", shown(name))
  counts <- readable(SummarizedExperiment::assay(object, name, withDimnames = FALSE), object, where)
  if (!is_matrix(counts)) {
    stop(where, " is of class '", class(counts)[1], "'; counts must be a ",
         "matrix, genes x cells.", call. = FALSE)
  }
  if (inherits(counts, "Matrix")) {
    readable(methods::validObject(counts), object, where)
  }
  dimnames(counts) <- list(rownames(object), colnames(object))
  counts
}

suggest_assay <- function(object, name) {
  for (other in setdiff(SummarizedExperiment::assayNames(object), name)) {
    if (looks_like_counts(sce_counts(object, other))) {
      return(sprintf("assay '%s' looks like counts: use layer = \"%s\"", other, other))
    }
  }
  raw_counts
}
