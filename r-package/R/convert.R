# Counts into Python, through anndata2ri or a folder, and results back.

# Where Python looks up the counts of the run in progress; nothing is written to globalenv().
bridge <- new.env(parent = emptyenv())

is_matrix <- function(x) {
  # DelayedMatrix: counts on disk; IterableMatrix: the same in BPCells
  is.matrix(x) || inherits(x, c("Matrix", "DelayedMatrix", "IterableMatrix"))
}

as_sparse <- function(x) {
  if (inherits(x, "DelayedMatrix")) {
    x <- as.matrix(x) # its own way to a dgCMatrix takes several times as long
  }
  if (is.matrix(x) && !is.numeric(x) && !is.logical(x)) {
    stop("the matrix holds values of type '", typeof(x), "'; counts are numbers.", call. = FALSE)
  }
  if (!inherits(x, "Matrix")) {
    return(as(x, "dgCMatrix"))
  }
  check_valid(x)
  if (!inherits(x, "dgCMatrix")) {
    for (class in c("CsparseMatrix", "dMatrix", "generalMatrix")) {
      x <- as(x, class)
    }
  }
  x
}

# One run: counts in, a list of class "bgformer" out, as from predict_counts().
fit_counts <- function(found, features, batch, batch.var, settings, key, separate.process,
                       checkpoint.dir) {
  counts <- found$counts
  further <- !names(settings) %in% own_settings
  names(settings)[further] <- gsub(".", "_", names(settings)[further], fixed = TRUE)
  if (inherits(counts, "Matrix") || (is.matrix(counts) && !separate.process)) {
    counts <- as_sparse(counts)
  }
  check_readable(counts, found$where)
  if (!is.null(features)) {
    features <- known_features(features, rownames(counts), found$where)
    if (is.null(settings$n_top_genes)) {
      settings$n_top_genes <- length(features) # the caller has chosen already
    }
  }
  check_shape(counts, features, found$where)
  check_batch(batch, ncol(counts))
  arguments <- python_arguments(settings)
  found$counts <- counts
  found <- c(found, list(features = features, batch = batch, batch.var = batch.var))
  answer <- if (separate.process || !is_in_memory(counts)) {
    with_stored(found, arguments, checkpoint.dir, function(folder) {
      if (separate.process) ask_process(folder, checkpoint.dir) else ask_python(function(python) {
        python$run_stored(folder = folder)
      })
    })
  } else {
    send_counts(found, function(python) {
      python$run(batch_key = batch.var, arguments = arguments)
    })
  }
  as_result(answer, colnames(counts), key)
}

predict_counts <- function(found, reference, device, key) {
  fitted <- for_python(reference)
  check_shape(found$counts, NULL, found$where)
  if (is.null(rownames(found$counts))) {
    stop(found$where, " has no names of genes, by which new cells are matched with the reference; ",
         "give it row names.", call. = FALSE)
  }
  answer <- if (is_in_memory(found$counts)) {
    found$counts <- as_sparse(found$counts)
    send_counts(found, function(python) {
      python$predict(fitted = fitted, device = device)
    })
  } else {
    with_stored(found, list(), NULL, function(folder) {
      ask_python(function(python) {
        python$predict_stored(folder = folder, fitted = fitted, device = device)
      })
    })
  }
  result <- as_result(answer, colnames(found$counts), key)
  result$clusters <- setNames(named_clusters(result$labels, reference$names),
                              names(result$clusters))
  result$colours <- reference$colours
  result$predicted <- predicted_labels(reference, result)
  result
}

known_features <- function(features, genes, where) {
  if (!is.character(features) || length(features) == 0 || anyNA(features)) {
    stop_for("features", features, "names of genes, none of them missing")
  }
  missing <- setdiff(features, genes)
  if (length(missing) > 0) {
    stop(length(missing), " of ", length(features), " features are not genes of ", where, " (",
         listed(missing), ").", call. = FALSE)
  }
  unique(features)
}

# Those that have a name of R's; of the others n.top.genes is as good as n_top_genes.
own_settings <- c("n.clusters", "resolution", "seed.use", "device", "verbose")

python_arguments <- function(settings) {
  if (is.null(names(settings)) || any(!nzchar(names(settings)))) {
    stop("further arguments of RunBGFormer() must be named, such as max_steps = 500.",
         call. = FALSE)
  }
  twice <- names(settings)[duplicated(names(settings))]
  if (length(twice) > 0) {
    stop("'", twice[1], "' is given twice; give it once.", call. = FALSE)
  }
  if (is.null(settings$seed.use)) {
    stop_for("seed.use", NULL, "one whole number")
  }
  own <- list(
    n_clusters = as_count(settings$n.clusters, "n.clusters"),
    resolution = as_number(settings$resolution, "resolution"),
    seed = as_count(settings$seed.use, "seed.use"),
    device = settings$device,
    verbose = settings$verbose
  )
  further <- settings[setdiff(names(settings), own_settings)]
  c(Filter(Negate(is.null), own), Map(as_python, further, names(further)))
}

# anndata2ri takes the counts, and with them the names of genes and cells and the batches, from
# `bridge`. SingleCellExperiment, which it could also take, needs seconds to load.
send_counts <- function(found, ask) {
  counts <- found$counts
  if (!is.null(found$features)) {
    counts <- counts[found$features, , drop = FALSE]
  }
  on.exit(rm(list = ls(bridge), envir = bridge))
  bridge$counts <- named(counts)
  bridge$batch <- as_utf8(as.character(found$batch))
  tryCatch(ask_python(ask), bgformer_error = function(e) {
    if (e$code %in% c("not-counts", "empty-cells")) {
      check_counts(counts, found)
    }
    stop(e)
  })
}

# Says in R's words which of the values is no count, or which cells have none. Python has looked at
# all values already; in R that takes as much memory as the matrix.
check_counts <- function(counts, found) {
  cells <- names_or_numbers(counts)
  check_values(counts, found, cells)
  check_empty(empty_cells(counts), cells, found)
}

# A fitted model as bgformer.r.bridge takes it; arrays, because reticulate would turn plain vectors
# into lists.
for_python <- function(fitted) {
  list(model = fitted$model, anchor_clusters = array(as.integer(fitted$anchor.clusters) - 1L),
       anchor_support = array(fitted$anchor.support), resolution = fitted$resolution,
       nearest = array(as.integer(fitted$evidence$nearest)),
       links = array(fitted$evidence$links), n_considered = fitted$n.considered,
       names = array(fitted$names), colours = array(fitted$colours))
}

weights_for_python <- function(weights) {
  list(data = array(weights@x), indices = array(weights@i), indptr = array(weights@p),
       shape = dim(weights))
}

# Python's messages name genes and cells, so that all need a name there.
named <- function(counts) {
  dimnames(counts) <- list(names_of(rownames(counts), "gene", nrow(counts)),
                           names_of(colnames(counts), "cell", ncol(counts)))
  counts
}

names_of <- function(given, kind, n) {
  if (is.null(given)) paste0(kind, seq_len(n)) else as_utf8(given)
}

# What R's messages call the cells.
names_or_numbers <- function(counts) {
  if (is.null(colnames(counts))) seq_len(ncol(counts)) else colnames(counts)
}

# What Python answers about factors: codes from 0 and the names of all levels.
as_factor <- function(codes, levels) {
  structure(as.vector(codes) + 1L, levels = levels, class = "factor")
}

# Weights of cells on anchors, in the parts that Python answers with.
as_weights <- function(parts, cells) {
  methods::new(
    "dgCMatrix", x = as.vector(parts$data), i = as.vector(parts$indices),
    p = as.vector(parts$indptr), Dim = as.integer(parts$shape), Dimnames = list(cells, NULL)
  )
}

# The columns as Python names them, so that the table is the same on both sides.
as_evidence <- function(columns) {
  table <- as.data.frame(lapply(columns, as.vector))
  counted <- c("n_cells", "n_markers")
  table[counted] <- lapply(table[counted], as.integer)
  table
}

# `labels` are the numbers of the clusters from 1, `clusters` their names. New cells also have an
# outlier score.
as_result <- function(answer, cells, key) {
  dimensions <- paste0(key, seq_len(ncol(answer$embedding)))
  labels <- labels_of(answer)
  structure(
    list(
      clusters = setNames(named_clusters(labels, answer$names), cells),
      labels = labels,
      colours = as.vector(answer$colours),
      confidence = setNames(as.vector(answer$confidence), cells),
      outlier = if (!is.null(answer$outlier)) setNames(as.vector(answer$outlier), cells),
      embedding = matrix(answer$embedding, ncol = length(dimensions),
                         dimnames = list(cells, dimensions)),
      params = answer$params,
      version = answer$version,
      seed = answer$seed,
      resolution = answer$resolution,
      n.clusters = length(answer$levels),
      n.considered = answer$n_considered,
      evidence = as_evidence(answer$evidence),
      genes = as.vector(answer$genes),
      history = lapply(answer$history, as.vector),
      anchors = matrix(answer$anchors, ncol = length(dimensions),
                       dimnames = list(NULL, dimensions)),
      anchor.clusters = as_factor(answer$anchor_clusters, answer$levels),
      anchor.support = as.vector(answer$anchor_support),
      weights = as_weights(answer$weights, cells),
      model = answer$model,
      cell.keys = cell_keys(answer$embedding)
    ),
    class = "bgformer"
  )
}

# The number of each cell's cluster, from 1; NA for cells that are of none.
labels_of <- function(answer) {
  labels <- as.vector(answer$labels) + 1L
  labels[as.logical(answer$unassigned)] <- NA
  labels
}
