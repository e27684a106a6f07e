# What is wrong is said in one sentence, in R's words, before Python starts.

need_package <- function(name, command) {
  if (!requireNamespace(name, quietly = TRUE)) {
    stop("the R package '", name, "' is needed and not installed; run ", command, ".",
         call. = FALSE)
  }
}

# anndata2ri reads counts from a SingleCellExperiment, whatever kind of object they came in.
need_single_cell_experiment <- function() {
  need_package("SingleCellExperiment", "BiocManager::install(\"SingleCellExperiment\")")
}

is_name <- function(x) {
  is.character(x) && length(x) == 1 && !is.na(x) && nzchar(x)
}

check_names <- function(reduction.name = "x", reduction.key = "X_", cluster.name = "x") {
  if (!is_name(reduction.name)) {
    stop("reduction.name must be one name, such as \"bgformer\".", call. = FALSE)
  }
  if (!is_name(reduction.key) || !grepl("^[[:alnum:]]+_$", reduction.key)) {
    stop("reduction.key must be letters and digits with a closing underscore, such as \"BGF_\".",
         call. = FALSE)
  }
  if (!is_name(cluster.name)) {
    stop("cluster.name must be one name, such as \"bgformer_clusters\".", call. = FALSE)
  }
}

# `own`: names of what bgformer wrote, which it may write over.
check_own <- function(names, there, own, argument, given, kind) {
  taken <- setdiff(intersect(names, there), own)
  if (length(taken) > 0) {
    stop(argument, " = '", given, "' would write over the ", kind, " '", taken[1],
         "', which is not from bgformer; choose another name.", call. = FALSE)
  }
}

# What to do in place of an argument that other tools or the Python module have. It is said here and
# not by Python, which would have to be started, and the counts handed over, to refuse a typo.
object_hints <- c(
  seed = "use `seed.use`", n_clusters = "use `n.clusters`", batch_key = "use `batch.var`",
  slot = "use `layer`", key_added = "use `cluster.name` and `reduction.name`",
  copy = "it always returns a changed copy"
)
no_layers <- "give the matrix of counts itself"
matrix_hints <- replace(
  c(object_hints, layer = no_layers, assay = no_layers),
  c("slot", "key_added", "copy"), c(no_layers, rep("for a matrix it returns a list", 2))
)

check_flag <- function(x, name) {
  if (!isTRUE(x) && !isFALSE(x)) {
    stop(name, " must be TRUE or FALSE.", call. = FALSE)
  }
}

check_device <- function(device) {
  if (!is_name(device)) {
    stop("device must be \"auto\", \"cpu\" or one GPU, such as \"cuda\".", call. = FALSE)
  }
}

check_settings <- function(device, verbose, separate.process, further, hints = object_hints) {
  check_flag(verbose, "verbose")
  check_flag(separate.process, "separate.process")
  check_device(device)
  wrong <- intersect(names(further), names(hints))
  if (length(wrong) > 0) {
    stop("RunBGFormer() has no argument '", wrong[1], "'; ", hints[[wrong[1]]], ".",
         call. = FALSE)
  }
}

check_dots <- function(...) {
  if (...length() > 0) {
    stop("unknown argument ", paste(sQuote(...names(), FALSE), collapse = ", "), ".",
         call. = FALSE)
  }
}

# What Python can be given as an integer. Which integers make sense, Python says.
is_whole <- function(x) {
  is.numeric(x) && length(x) == 1 && !is.na(x) && x == round(x) && abs(x) <= .Machine$integer.max
}

as_count <- function(x, name) {
  if (is.null(x)) {
    return(NULL)
  }
  if (!is_whole(x)) {
    stop(name, " must be one whole number.", call. = FALSE)
  }
  as.integer(x)
}

as_number <- function(x, name) {
  if (is.null(x)) {
    return(NULL)
  }
  if (!is.numeric(x) || length(x) != 1 || !is.finite(x)) {
    stop(name, " must be one number.", call. = FALSE)
  }
  as.numeric(x)
}

# R users write 50, Python wants an integer.
as_python <- function(x) {
  if (is_whole(x)) as.integer(x) else x
}

batch_column <- function(batch.var, cells) {
  if (is.null(batch.var)) {
    return(NULL)
  }
  if (!is_name(batch.var)) {
    stop("batch.var must be the name of one column of the cells' metadata.", call. = FALSE)
  }
  if (!batch.var %in% colnames(cells)) {
    stop("batch.var = '", batch.var, "' is not a column of the cells' metadata (there: ",
         listed(colnames(cells)), ").", call. = FALSE)
  }
  cells[[batch.var]]
}

check_unique <- function(names, what, where, remedy) {
  twice <- names[duplicated(names)]
  if (length(twice) > 0) {
    stop(length(twice), " ", what, " names of ", where, " are duplicated (the first: '", twice[1],
         "'); make them unique with ", remedy, ".", call. = FALSE)
  }
}

check_named <- function(names, what, where) {
  if (anyNA(names)) {
    stop(sum(is.na(names)), " of ", length(names), " ", what, " names of ", where,
         " are missing (the first: number ", which(is.na(names))[1], "); give every ", what,
         " a name.", call. = FALSE)
  }
}

check_shape <- function(counts, features, where) {
  n_genes <- if (is.null(features)) nrow(counts) else length(features)
  if (n_genes == 0 || ncol(counts) == 0) {
    stop(where, " is empty (", n_genes, " genes x ", ncol(counts), " cells).", call. = FALSE)
  }
  if (is.null(features)) {
    check_named(rownames(counts), "gene", where)
    check_unique(rownames(counts), "gene", where, "make.unique()")
  }
  check_named(colnames(counts), "cell", where)
  check_unique(colnames(counts), "cell", where, "make.unique()")
}

# Values looked at together, as each look makes several vectors of this length.
values_at_once <- 2^20

# `counts` is a dgCMatrix, of all cells or of some; `cells` are their names or numbers.
# `found` is what counts_of_seurat() and the like return.
check_values <- function(counts, found, cells) {
  wrong <- list(
    "values that are missing or infinite" = function(x) !is.finite(x),
    "negative values" = function(x) x < 0,
    "values that are not whole numbers" = function(x) x != round(x)
  )
  n <- length(counts@x)
  for (start in seq_len(ceiling(n / values_at_once)) * values_at_once - values_at_once) {
    values <- counts@x[seq(start + 1, min(start + values_at_once, n))]
    if (are_counts(values)) {
      next
    }
    for (what in names(wrong)) {
      bad <- which(wrong[[what]](values))
      if (length(bad) > 0) {
        at <- start + bad[1]
        gene <- place(rownames(counts), counts@i[at] + 1L)
        stop(found$where, " holds ", what, " (", format(counts@x[at], digits = 4), " in gene '",
             gene, "', cell '", cells[findInterval(at - 1, counts@p)],
             "'), so it is not raw counts; ", found$hint(), ".", call. = FALSE)
      }
    }
  }
}

# A quick look: also FALSE for a count that is more than R's integers hold.
are_counts <- function(values) {
  whole <- suppressWarnings(as.integer(values))
  isTRUE(all(values == whole)) && min(whole) >= 0
}

# Numbers of the cells without counts, once it is known that no value is negative.
empty_cells <- function(counts) {
  which(colSums(counts) == 0)
}

check_empty <- function(empty, cells, found) {
  if (length(empty) > 0) {
    of <- if (!is.null(found$features)) "the features given of "
    stop(length(empty), " of ", length(cells), " cells have no counts in ", of, found$where,
         " (the first: '", cells[empty[1]], "'); remove them first.", call. = FALSE)
  }
}

looks_like_counts <- function(counts) {
  head <- as_sparse(counts[, seq_len(min(200, ncol(counts))), drop = FALSE])
  length(head@x) > 0 && are_counts(head@x)
}

place <- function(names, at) {
  if (is.null(names)) at else names[at]
}

listed <- function(names, most = 5) {
  if (length(names) == 0) {
    return("none")
  }
  text <- paste0("'", utils::head(names, most), "'", collapse = ", ")
  if (length(names) > most) paste0(text, ", ...") else text
}
