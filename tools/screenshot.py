"""Take a picture of a report in Chromium: tools/screenshot.py REPORT.html PICTURE.png."""

import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

report, picture = map(Path, sys.argv[1:])
with sync_playwright() as playwright:
    browser = playwright.chromium.launch(
        executable_path=shutil.which("chromium"),
        args=["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader"],
    )
    page = browser.new_page(viewport={"width": 1200, "height": 1500})
    page.goto(report.resolve().as_uri())
    page.wait_for_selector("body[data-ready]")
    page.wait_for_timeout(1000)
    page.screenshot(path=picture)
    browser.close()
Image.open(picture).convert("RGB").quantize(256, method=1).save(picture, optimize=True)
