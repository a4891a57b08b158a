"""A headless Chromium for the tests of the page: the distribution's, with its driver.

As a program it takes a screenshot of a page with a unit chosen and the cursor at a character:

    python tests/browser.py model.html notebooks/pictures/page.png --unit 80 --point-at 200
"""

import argparse
import io
import shutil
import tempfile
import time
from pathlib import Path

import pytest
from selenium import webdriver

FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1280,900"),
)


def open_browser(profile, *flags):
    """Start the browser with an empty profile; skip the test where none is installed."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not browser or not driver:
        pytest.skip("no browser is installed: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in (*FLAGS, *flags, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=driver))


def picture(driver, page, unit=None, point_at=None, until=10):
    """Return a PNG of the upper part of the page, once the network has read its text."""
    driver.get(page.absolute().as_uri())
    until += time.monotonic()
    while not driver.execute_script("return items.length > 0 && read === items.length"):
        if time.monotonic() > until:
            raise SystemExit(f"{page} has not read its text yet")
        time.sleep(0.05)
    if unit is not None:
        driver.execute_script("choose(arguments[0])", unit)
    if point_at is not None:
        driver.execute_script("field.setSelectionRange(arguments[0], arguments[0]); field.focus(); inspect()", point_at)
    time.sleep(0.5)  # until transitions have ended
    return driver.get_screenshot_as_png()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("page", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--unit", type=int)
    parser.add_argument("--point-at", type=int, help="show the likeliest characters after this position")
    parser.add_argument("--size", default="1200,1000")
    arguments = parser.parse_args()
    from PIL import Image  # matplotlib has it

    with tempfile.TemporaryDirectory() as profile:
        driver = open_browser(profile, f"--window-size={arguments.size}", "--hide-scrollbars")
        try:
            png = picture(driver, arguments.page, arguments.unit, arguments.point_at)
        finally:
            driver.quit()
    # A page has few colors: with a palette the file is a third of the size.
    few = Image.open(io.BytesIO(png)).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    few.save(arguments.out, optimize=True)
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1000:,.0f} kB")


if __name__ == "__main__":
    main()
