"""The report in a real browser: it opens, its parts agree with Python, and everyone can use it."""

import csv
import io
import shutil

import numpy as np
import pytest

import bgformer as bgf

sync_api = pytest.importorskip("playwright.sync_api")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
WITHOUT_A_GRAPHICS_CARD = [
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
]
LATEST_MS = 60_000


@pytest.fixture(scope="module")
def adata():
    """The 700 cells with results, a batch, and a cluster that has a name."""
    from pbmc700 import load_pbmc700

    cells = load_pbmc700()
    bgf.tl.cluster(cells, max_steps=30, verbose=False)
    cells.obs["batch"] = np.where(np.arange(cells.n_obs) % 3, "one", "two")
    cells.obs["depth"] = np.asarray(cells.X.sum(axis=1)).ravel()
    names = {"0": "<b>T & others</b>"}
    cells.obs["bgformer"] = cells.obs["bgformer"].cat.rename_categories(names)
    return cells


@pytest.fixture(scope="module")
def file(adata, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    bgf.report(adata, path)
    return path


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=BROWSER, args=WITHOUT_A_GRAPHICS_CARD)
        yield opened
        opened.close()


@pytest.fixture
def page(browser, file):
    """The report, when all of it is drawn; fails if it asked for or complained of anything."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    wrong = []
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda asked: wrong.append(asked.url))
    page.goto(file.as_uri())
    page.wait_for_selector("body[data-ready]", timeout=LATEST_MS)
    yield page
    page.close()
    assert wrong == [file.as_uri()]


def move_to(page, at):
    """Move the slider as a hand does."""
    page.locator("#resolution").fill(str(at))


def downloaded(page, button):
    with page.expect_download() as waited:
        page.click(button)
    with open(waited.value.path(), encoding="utf-8", newline="") as file:
        return list(csv.reader(io.StringIO(file.read())))


@pytest.mark.filterwarnings("ignore:no cluster has the same cells")
def test_the_slider_gives_the_clusters_of_recluster(page, adata):
    last = int(page.locator("#resolution").get_attribute("max"))
    assert "stored clusters: " in page.inner_text("#said")
    for at in (0, 9, 20, last):
        move_to(page, at)
        said = page.inner_text("#said")
        resolution = float(said.split(":")[0].removeprefix("resolution "))
        again = bgf.tl.recluster(adata, resolution=resolution, copy=True).obs["bgformer"]
        assert f": {again.nunique()} clusters" in said
        assert page.locator("#sizes tbody tr").count() == again.nunique()
        head, *rows = downloaded(page, "#csv")
        assert head == ["cell", "bgformer"]
        assert [row[0] for row in rows] == list(adata.obs_names)
        assert [row[1] for row in rows] == list(again.astype(str))
        assert f"resolution={resolution}" in page.inner_text("#calls")
    page.click("#back")
    assert "stored clusters: " in page.inner_text("#said")


def test_names_are_text_and_not_markup(page):
    assert "<b>T & others</b>" in page.inner_text("#sizes")
    assert page.locator("#sizes b").count() == 0


def test_markers_are_searched_sorted_and_downloaded(page, adata):
    bgf.tl.markers(adata)
    n_all = page.locator("#marker-table tbody tr").count()
    assert n_all == 10 * adata.obs["bgformer"].nunique()
    page.fill("#search", "cd79a")
    genes = page.locator("#marker-table tbody tr td:nth-child(2)").all_inner_texts()
    assert set(genes) == {"CD79A"}
    page.fill("#search", "")
    title = page.locator("#marker-table th", has_text="log2 fold change")
    title.locator("button").click()
    assert title.get_attribute("aria-sort") == "descending"
    folds = page.locator("#marker-table tbody tr td:nth-child(3)").all_inner_texts()
    assert [float(fold) for fold in folds] == sorted(map(float, folds), reverse=True)
    title.locator("button").click()
    assert title.get_attribute("aria-sort") == "ascending"
    page.fill("#search", "CD79A")
    head, *rows = downloaded(page, "#markers-csv")
    assert head[:3] == ["cluster", "gene", "log2_fold_change"]
    assert {row[1] for row in rows} == {"CD79A"}


def test_cells_are_coloured_by_columns_and_genes_and_groups_hidden(page, adata):
    def pixels():
        page.wait_for_timeout(300)
        return page.locator("#embedding").screenshot()

    by_cluster = pixels()
    page.locator("#legend input").first.uncheck()
    hidden = pixels()
    assert hidden != by_cluster
    page.select_option("#colour", label="batch")
    assert page.locator("#legend label").all_inner_texts() == ["one\n466", "two\n234"]
    page.select_option("#colour", label="depth")
    assert page.locator("#legend input").count() == 0
    low, high = page.locator("#legend .ends span").all_inner_texts()
    np.testing.assert_allclose(
        [float(low), float(high)], [adata.obs["depth"].min(), adata.obs["depth"].max()], rtol=1e-3
    )
    by_depth = pixels()
    page.fill("#gene", "CD79A")
    assert "CD79A" in page.inner_text("#legend")
    assert pixels() != by_depth


def test_the_keyboard_is_enough(page):
    page.focus("#resolution")
    before = page.inner_text("#said")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#said") != before
    page.focus("#embedding")
    seen = page.locator("#embedding").screenshot()
    for key in ("+", "+", "ArrowLeft"):
        page.keyboard.press(key)
    page.wait_for_timeout(300)
    assert page.locator("#embedding").screenshot() != seen


def test_charts_are_there_and_folded_ones_are_drawn_when_unfolded(page):
    for chart in ("tree-chart", "dots", "confidence-chart", "composition-chart"):
        assert page.locator(f"#{chart} svg").count() >= 1
    assert page.locator("#training-chart svg").count() == 0
    page.click("#training summary")
    page.wait_for_selector("#training-chart svg")
    assert page.locator("#anchor-chart svg").count() == 1


@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_no_serious_error(page, width):
    axe_core = pytest.importorskip("axe_core_python.sync_playwright")
    page.set_viewport_size({"width": width, "height": 900})
    page.click("#training summary")
    page.wait_for_selector("#training-chart svg")
    found = axe_core.Axe().run(page)["violations"]
    serious = [one for one in found if one["impact"] in ("serious", "critical")]
    assert [(one["id"], one["nodes"][0]["html"]) for one in serious] == []
    # the page itself never scrolls sideways; wide charts and tables do so in their frames
    assert page.evaluate("document.documentElement.scrollWidth") <= width
