"""What is shipped: one version, one copy of each file, and a wheel that holds the package."""

import re
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
import tomllib
from build import ProjectBuilder

import bgformer

ROOT = Path(__file__).parents[2]


def _package(requirement: str) -> str:
    return re.split(r"[<>=;\s]", requirement)[0]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    builder = ProjectBuilder(ROOT, python_executable=sys.executable)
    return zipfile.ZipFile(builder.build("wheel", tmp_path_factory.mktemp("wheel")))


def test_r_and_python_have_the_same_version(wheel):
    description = Parser().parsestr((ROOT / "DESCRIPTION").read_text())
    metadata = next(name for name in wheel.namelist() if name.endswith("/METADATA"))
    assert description["Version"] == bgformer.__version__
    assert Parser().parsestr(wheel.read(metadata).decode())["Version"] == bgformer.__version__


def test_the_citation_names_this_version():
    assert f"version: {bgformer.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_wheel_holds_the_package_and_nothing_else(wheel):
    in_wheel = {n for n in wheel.namelist() if ".dist-info/" not in n}
    in_source = {
        f"bgformer/{p.relative_to(ROOT / 'python/bgformer').as_posix()}"
        for pattern in ("*.py", "page/assets/*")
        for p in (ROOT / "python/bgformer").rglob(pattern)
    }
    assert in_wheel == in_source | {"bgformer/py.typed"}


def test_wheel_says_what_it_needs(wheel):
    name = next(n for n in wheel.namelist() if n.endswith("/METADATA"))
    metadata = Parser().parsestr(wheel.read(name).decode())
    needed = metadata.get_all("Requires-Dist")
    assert metadata["License-Expression"] == "BSD-3-Clause"
    extras = {}
    for requirement in needed:
        if "extra ==" in requirement:
            extra = requirement.split("'")[1]
            extras.setdefault(extra, set()).add(_package(requirement))
    assert extras == {
        "r": {"anndata2ri", "rpy2"},
        "zarr": {"anndata", "numcodecs", "zarr"},
    }
    scripts = next(n for n in wheel.namelist() if n.endswith("/entry_points.txt"))
    assert "bgformer = bgformer.__main__:main" in wheel.read(scripts).decode()


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("r-package/DESCRIPTION", "DESCRIPTION"),
        ("r-package/vignettes", "vignettes"),
        ("r-package/tests", "tests/r"),
        ("r-package/inst/python", "python"),
        ("r-package/inst/pyproject.toml", "pyproject.toml"),
    ],
)
def test_r_package_links_to_the_one_copy(link, target):
    assert (ROOT / link).is_symlink()
    assert (ROOT / link).resolve() == ROOT / target
    assert (ROOT / target).exists()


def test_reference_lists_every_public_name():
    page = (ROOT / "docs/python/api.md").read_text()
    public = {f"bgformer.{name}" for name in bgformer.__all__} - {
        "bgformer.__version__",
        "bgformer.pl",
        "bgformer.tl",
    }
    for module in (bgformer.tl, bgformer.pl):
        public |= {f"{module.__name__}.{name}" for name in module.__all__}
    assert set(re.findall(r"^ +(bgformer\.[\w.]+)$", page, re.MULTILINE)) == public


def test_addresses_are_the_same_in_r_and_python():
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]
    description = Parser().parsestr((ROOT / "DESCRIPTION").read_text())
    assert re.split(r",\s*", description["URL"]) == [urls["Source"], urls["Documentation"]]
    assert description["BugReports"] == urls["Issues"]
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"repository-code: {urls['Source']}\nurl: {urls['Documentation']}\n" in citation


def test_every_requirement_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = list(project["project"]["dependencies"])
    for extra in project["project"]["optional-dependencies"].values():
        wanted += extra
    wanted += [item for group in project["dependency-groups"].values() for item in group]
    wanted += project["build-system"]["requires"]
    pinned = {
        line.split("==")[0].lower()
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line and not line.startswith("#")
    }
    assert {_package(item).lower() for item in wanted} <= pinned
