test_that("runs use the Python source in the package, which has the package's version", {
  run(counts)
  bgformer <- reticulate::import("bgformer")
  expect_identical(bgformer$`__version__`, as.character(utils::packageVersion("bgformer")))
  expect_identical(
    normalizePath(bgformer$`__file__`),
    normalizePath(system.file("python", "bgformer", "__init__.py", package = "bgformer"))
  )
})

test_that("citation() names the paper and the package", {
  cited <- citation("bgformer")
  expect_match(cited[[1]]$title, "^Bipartite Graph Attention")
  expect_match(format(cited[[1]]), "arXiv:2602.07475", fixed = TRUE, all = FALSE)
  expect_match(cited[[2]]$note, as.character(packageVersion("bgformer")), fixed = TRUE)
})

test_that("the version that NEWS begins with is this one", {
  skip_if_not_installed("commonmark") # R reads NEWS.md with these
  skip_if_not_installed("xml2")
  expect_identical(news(package = "bgformer")$Version[1],
                   as.character(packageVersion("bgformer")))
})
