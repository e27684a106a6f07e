# Counts out of each kind of object, through anndata2ri or a folder into Python, and results back.

# Where Python looks up the counts of the run in progress; nothing is written to globalenv().
bridge <- new.env(parent = emptyenv())

is_matrix <- function(x) {
  # DelayedMatrix: counts on disk; IterableMatrix: the same in BPCells
  is.matrix(x) || inherits(x, c("Matrix", "DelayedMatrix", "IterableMatrix"))
}

as_sparse <- function(x) {
  if (is.matrix(x) && !is.numeric(x) && !is.logical(x)) {
    stop("the matrix holds values of type '", typeof(x), "'; counts are numbers.", call. = FALSE)
  }
  if (inherits(x, "dgCMatrix")) {
    return(x)
  }
  if (is.matrix(x) || inherits(x, "Matrix")) {
    for (class in c("dMatrix", "generalMatrix", "CsparseMatrix")) {
      x <- as(x, class)
    }
    return(x)
  }
  as(x, "dgCMatrix")
}

choose_assay <- function(object, assay, layer, verbose) {
  there <- SeuratObject::Assays(object)
  if (!is.null(assay)) {
    if (!is_name(assay) || !assay %in% there) {
      stop("assay '", assay[1], "' is not in the object (there: ", listed(there), ").",
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
  if (!is_name(layer) || !layer %in% layers_of(data)) {
    stop("assay '", assay, "' has no layer '", layer[1], "' (there: ", listed(layers_of(data)),
         ").", call. = FALSE)
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
  "give the raw counts, before normalisation and logarithm"
}

sce_counts <- function(object, name) {
  there <- SummarizedExperiment::assayNames(object)
  if (!is_name(name) || !name %in% there) {
    stop("assay '", name[1], "' is not in the object (there: ", listed(there), ").",
         call. = FALSE)
  }
  counts <- SummarizedExperiment::assay(object, name, withDimnames = FALSE)
  dimnames(counts) <- list(rownames(object), colnames(object))
  counts
}

suggest_assay <- function(object, name) {
  for (other in setdiff(SummarizedExperiment::assayNames(object), name)) {
    if (looks_like_counts(sce_counts(object, other))) {
      return(sprintf("assay '%s' looks like counts: use layer = \"%s\"", other, other))
    }
  }
  "give the raw counts, before normalisation and logarithm"
}

# One run: counts in, a list of class "bgformer" out, as from predict_counts().
fit_counts <- function(counts, where, hint, features, batch, batch.var, settings, key,
                       separate.process) {
  if (inherits(counts, "Matrix") || (is.matrix(counts) && !separate.process)) {
    counts <- as_sparse(counts)
  }
  check_readable(counts, where)
  if (!is.null(features)) {
    features <- known_features(features, rownames(counts), where)
    if (is.null(settings$n_top_genes)) {
      settings$n_top_genes <- length(features) # the caller has chosen already
    }
  }
  check_shape(counts, features, where)
  if (anyNA(batch)) {
    stop("batch.var: ", sum(is.na(batch)), " of ", length(batch), " cells have no batch; fill in ",
         "the missing values first.", call. = FALSE)
  }
  arguments <- python_arguments(settings)
  answer <- if (separate.process || !is_in_memory(counts)) {
    with_stored(counts, features, where, hint, batch, batch.var, arguments, function(folder) {
      if (separate.process) ask_process(folder) else ask_python(function(python) {
        python$run_stored(folder = folder)
      })
    })
  } else {
    send_counts(counts, features, where, hint, batch, batch.var, function(python, name) {
      python$run(name = name, batch_key = batch.var, arguments = arguments)
    })
  }
  as_result(answer, colnames(counts), key)
}

predict_counts <- function(counts, where, hint, fitted, device, key) {
  fitted <- for_python(fitted)
  check_shape(counts, NULL, where)
  if (is.null(rownames(counts))) {
    stop(where, " has no names of genes, by which new cells are matched with the reference; give ",
         "it row names.", call. = FALSE)
  }
  answer <- if (is_in_memory(counts)) {
    counts <- as_sparse(counts)
    send_counts(counts, NULL, where, hint, NULL, NULL, function(python, name) {
      python$predict(name = name, fitted = fitted, device = device)
    })
  } else {
    with_stored(counts, NULL, where, hint, NULL, NULL, list(), function(folder) {
      ask_python(function(python) {
        python$predict_stored(folder = folder, fitted = fitted, device = device)
      })
    })
  }
  as_result(answer, colnames(counts), key)
}

known_features <- function(features, genes, where) {
  missing <- setdiff(features, genes)
  if (length(missing) > 0) {
    stop(length(missing), " of ", length(features), " features are not genes of ", where, " (",
         listed(missing), ").", call. = FALSE)
  }
  unique(features)
}

python_arguments <- function(settings) {
  if (is.null(names(settings)) || any(!nzchar(names(settings)))) {
    stop("further arguments of RunBGFormer() must be named, such as max_steps = 500.",
         call. = FALSE)
  }
  if (is.null(settings$seed.use)) {
    stop("seed.use must be one whole number.", call. = FALSE)
  }
  own <- list(
    n_clusters = as_count(settings$n.clusters, "n.clusters"),
    resolution = as_number(settings$resolution, "resolution"),
    seed = as_count(settings$seed.use, "seed.use"),
    device = settings$device,
    verbose = settings$verbose
  )
  further <- settings[setdiff(names(settings), c("n.clusters", "resolution", "seed.use", "device",
                                                 "verbose"))]
  c(Filter(Negate(is.null), own), lapply(further, as_python))
}

# anndata2ri reads a SingleCellExperiment: a new one, with the counts and nothing else. `ask` gets
# the name that Python finds it by.
send_counts <- function(counts, features, where, hint, batch, batch.var, ask) {
  if (!is.null(features)) {
    counts <- counts[features, , drop = FALSE]
  }
  cells <- names_or_numbers(counts)
  check_values(counts, where, hint, cells)
  check_empty(empty_cells(counts), cells, features, where)
  need_single_cell_experiment()
  dimnames(counts) <- list(names_of(rownames(counts), "gene", nrow(counts)),
                           names_of(colnames(counts), "cell", ncol(counts)))
  columns <- S4Vectors::make_zero_col_DFrame(ncol(counts))
  if (!is.null(batch)) {
    columns[[batch.var]] <- as.character(batch)
  }
  on.exit(rm(list = ls(bridge), envir = bridge))
  bridge$counts <- SingleCellExperiment::SingleCellExperiment(
    assays = list(counts = counts), colData = columns
  )
  ask_python(function(python) ask(python, "counts"))
}

# A fitted model as bgformer.rbridge takes it; arrays, because reticulate would turn plain vectors
# into lists.
for_python <- function(fitted) {
  list(model = fitted$model, anchor_clusters = array(as.integer(fitted$anchor.clusters) - 1L),
       anchor_support = array(fitted$anchor.support), resolution = fitted$resolution)
}

weights_for_python <- function(weights) {
  list(data = array(weights@x), indices = array(weights@i), indptr = array(weights@p),
       shape = dim(weights))
}

# Python's messages name genes and cells, so that all need a name there.
names_of <- function(given, kind, n) {
  if (is.null(given)) paste0(kind, seq_len(n)) else given
}

# What R's messages call the cells.
names_or_numbers <- function(counts) {
  if (is.null(colnames(counts))) seq_len(ncol(counts)) else colnames(counts)
}

# What Python answers about factors: codes from 0 and the names of all levels.
as_factor <- function(codes, levels) {
  structure(as.vector(codes) + 1L, levels = levels, class = "factor")
}

as_result <- function(answer, cells, key) {
  dimensions <- paste0(key, seq_len(ncol(answer$embedding)))
  weights <- methods::new(
    "dgCMatrix",
    x = as.vector(answer$weights$data), i = as.vector(answer$weights$indices),
    p = as.vector(answer$weights$indptr), Dim = as.integer(answer$weights$shape),
    Dimnames = list(cells, NULL)
  )
  structure(
    list(
      clusters = setNames(as_factor(answer$labels, answer$levels), cells),
      confidence = setNames(as.vector(answer$confidence), cells),
      embedding = matrix(answer$embedding, ncol = length(dimensions),
                         dimnames = list(cells, dimensions)),
      params = answer$params,
      version = answer$version,
      seed = answer$seed,
      resolution = answer$resolution,
      valley.p = answer$valley_p,
      n.clusters = length(answer$levels),
      genes = as.vector(answer$genes),
      history = lapply(answer$history, as.vector),
      anchors = matrix(answer$anchors, ncol = length(dimensions),
                       dimnames = list(NULL, dimensions)),
      anchor.clusters = as_factor(answer$anchor_clusters, answer$levels),
      anchor.support = as.vector(answer$anchor_support),
      weights = weights,
      model = answer$model
    ),
    class = "bgformer"
  )
}
