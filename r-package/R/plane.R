# The plane that cells and anchors are drawn in, and what all plots share.

# Cells x 2, with the names of the axes as its columns.
plane_of <- function(object, results, reduction) {
  if (is.null(reduction) && !inherits(object, "bgformer")) {
    reduction <- made_from_results(object, results)
  }
  if (is.null(reduction)) {
    at <- umap_in_list(object)
    return(if (is.null(at)) principal_plane(results$embedding) else with_axes(at))
  }
  there <- if (inherits(object, "bgformer")) character() else reduction_names(object)
  check_name(reduction, "reduction", "the name of one reduction, such as \"umap\"")
  if (!reduction %in% there) {
    stop("reduction '", shown(reduction), "' is not in the object (there: ", listed(there), ").",
         call. = FALSE)
  }
  at <- reduction_of(object, reduction)
  if (ncol(at) < 2) {
    stop("reduction '", reduction, "' has ", ncol(at), " dimension; a plot needs two.",
         call. = FALSE)
  }
  if (is.null(colnames(at))) {
    colnames(at) <- paste(reduction, seq_len(ncol(at)))
  }
  with_axes(at)
}

# The first two dimensions, their names as titles of axes.
with_axes <- function(at) {
  named <- sub("_([12])$", " \\1", colnames(at)[1:2])
  named <- sub("^(umap|BGFUMAP)", "UMAP", named) # Seurat 5 writes it small
  matrix(at[, 1:2], ncol = 2, dimnames = list(NULL, named))
}

# Name of the UMAP or t-SNE to draw these results in, if there is one.
made_from_results <- function(object, results) {
  own <- umap_of_results(object, results)
  if (inherits(object, "Seurat")) {
    theirs <- drawn_from(object, results$reduction.name)
    return(if (is.null(theirs)) own else theirs)
  }
  if (is.null(own) && "UMAP" %in% reduction_names(object)) "UMAP" else own
}

# What RunBGFormerUMAP() put into a list of class bgformer.
umap_in_list <- function(object) {
  at <- if (inherits(object, "bgformer")) object$umap
  if (is_finite_matrix(at) && identical(dim(at), c(nrow(object$embedding), 2L))) at
}

# Name of the UMAP or t-SNE that was last made from these results, as the log of commands tells.
drawn_from <- function(object, latent) {
  log <- lapply(SeuratObject::Command(object), function(name) object[[name]])
  log <- log[order(vapply(log, function(one) as.numeric(slot(one, "time.stamp")), numeric(1)))]
  found <- NULL
  for (one in log) {
    params <- slot(one, "params")
    if (grepl("^(RunBGFormer|PredictBGFormer)(\\.|$)", slot(one, "name"))) {
      found <- NULL # whatever was drawn before is of an earlier latent space
    } else if (grepl("^Run(UMAP|TSNE)", slot(one, "name"))) {
      ours <- identical(params$reduction, latent)
      found <- c(if (ours) params$reduction.name, setdiff(found, params$reduction.name))
    }
  }
  found <- intersect(found, SeuratObject::Reductions(object))
  if (length(found) > 0) found[1]
}

# The two directions in which the cells' latent spreads most.
principal_plane <- function(latent) {
  centred <- sweep(latent, 2, colMeans(latent))
  spread <- eigen(crossprod(centred), symmetric = TRUE)
  shares <- round(100 * spread$values[1:2] / sum(spread$values))
  at <- centred %*% spread$vectors[, 1:2]
  dimnames(at) <- list(NULL, sprintf("Latent principal axis %d (%.0f %%)", 1:2, shares))
  at
}

# As in Python's store/palette.py. Colours far apart from each other (CIELAB, the first ones
# furthest) for normal, red-blind, green-blind and blue-blind eyes; the first six are Okabe and
# Ito's.
distant_colours <- c(
  "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8700FF", "#870F1E",
  "#C3E196", "#5A3C5A", "#4B2DB4", "#F0C3C3", "#C35AFF", "#FF005A", "#78F05A", "#B40000",
  "#780F78", "#4BE1F0", "#D200B4", "#00693C", "#FF6987", "#D2A55A", "#964B87", "#78692D",
  "#D2E100", "#784BF0", "#7887E1", "#E1A5C3", "#6900D2", "#691E96", "#5A961E", "#874BD2"
)

# One row for each group: the point in the middle of its densest part, so that the label is on the
# group. A group can have several parts.
label_places <- function(places, groups) {
  rows <- split(seq_along(groups), groups, drop = TRUE)
  step <- max(diff(range(places$x)), diff(range(places$y))) / 12
  away <- function(at, x, y) (places$x[at] - x)^2 + (places$y[at] - y)^2
  middle <- vapply(rows, function(at) {
    box <- paste(floor(places$x[at] / step), floor(places$y[at] / step))
    densest <- at[box == names(which.max(table(box)))]
    near <- away(at, mean(places$x[densest]), mean(places$y[densest])) <= (2.5 * step)^2
    part <- if (any(near)) at[near] else at
    part[which.min(away(part, stats::median(places$x[part]), stats::median(places$y[part])))]
  }, integer(1))
  data.frame(x = places$x[middle], y = places$y[middle], label = names(rows), n = lengths(rows))
}

# `points` is the size of the point that each label is to stay clear of. 0 is for none: with NA,
# ggrepel leaves labels on each other.
label_layer <- function(labels, points) {
  labels$label <- vapply(strwrap(labels$label, 18, simplify = FALSE), paste, "", collapse = "\n")
  small <- nrow(labels) > 20 || max(nchar(labels$label)) > 4
  ggrepel::geom_text_repel(
    ggplot2::aes(x = .data$x, y = .data$y, label = .data$label), labels,
    size = if (small) 3 else 4, fontface = "bold", colour = "grey10", lineheight = 0.85,
    bg.color = "white", bg.r = 0.18, point.size = points,
    box.padding = if (small) 0.35 else 0.1, max.overlaps = Inf, min.segment.length = 0.5,
    segment.colour = "grey30", force_pull = 0, seed = 1,
    max.time = 60, max.iter = 50000, # so that the number of steps ends it, on every computer
    inherit.aes = FALSE
  )
}

# Labels of groups of fewer points than `on` are beside them, because they would cover them all;
# not where groups are so near to each other that their labels would have no place.
beside_few <- function(labels, on) {
  apart <- as.matrix(stats::dist(labels[c("x", "y")]))
  diag(apart) <- Inf
  alone <- apply(apart, 1, min) > 0.1 * max(apart[is.finite(apart)], 0)
  label_layer(labels, points = ifelse(labels$n < on & alone, 4, 0))
}

check_plot <- function(label = FALSE) {
  need_package("ggplot2", "install.packages(\"ggplot2\")")
  check_flag(label, "label")
  if (label) {
    need_package("ggrepel", "install.packages(\"ggrepel\")")
  }
}

# Neither unit nor origin of a plane means anything, so that the axes have no numbers.
plane_theme <- function() {
  ggplot2::theme_classic(base_size = 12) +
    ggplot2::theme(
      aspect.ratio = 1, axis.text = ggplot2::element_blank(),
      axis.ticks = ggplot2::element_blank(), axis.title = ggplot2::element_text(hjust = 0),
      axis.line = ggplot2::element_line(linewidth = 0.4)
    )
}
