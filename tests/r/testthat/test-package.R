test_that("runs use the Python source in the package, which has the package's version", {
  run(counts)
  bgformer <- reticulate::import("bgformer")
  expect_identical(bgformer$`__version__`, as.character(utils::packageVersion("bgformer")))
  expect_identical(
    normalizePath(bgformer$`__file__`),
    normalizePath(system.file("python", "bgformer", "__init__.py", package = "bgformer"))
  )
})
