"""A page in headless Chromium: no console message, every picture loaded, no sideways scrolling."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
MEASURE = """<script>addEventListener("load", () => {
  const images = [...document.images];
  const loaded = images.filter(image => image.complete && image.naturalWidth > 0);
  const scroll = document.documentElement.scrollWidth;
  parent.postMessage(JSON.stringify(
    {width: innerWidth, scroll, images: images.length, loaded: loaded.length}), "*");
});</script>"""
FRAMES = """<!doctype html><body><script>
const measured = [];
addEventListener("message", event => {
  measured.push(event.data);
  document.documentElement.dataset.measured = JSON.stringify(measured);
});
</script>
<iframe src="measured.html" style="border:0;height:2000px;width:1280px"></iframe>
<iframe src="measured.html" style="border:0;height:2000px;width:390px"></iframe>"""


def assert_sound_in_browser(page: Path, folder: Path) -> None:
    """Open a page as it is, then measure a copy of it at 1280 and 390 pixels.

    The page itself forbids scripts, so a copy without that rule is measured, in frames, since a
    headless window has a least width.
    """
    text = page.read_text(encoding="utf-8")
    picture = folder / "page.png"
    shown = _chromium(page, folder / "a", f"--screenshot={picture}", "--window-size=1280,2000")
    assert "CONSOLE" not in shown.stderr
    assert picture.stat().st_size > 20_000
    (folder / "measured.html").write_text(
        re.sub(r"<meta http-equiv[^>]+>", "", text).replace("</body>", f"{MEASURE}</body>")
    )
    frames = folder / "frames.html"
    frames.write_text(FRAMES)
    dumped = _chromium(frames, folder / "b", "--dump-dom", "--virtual-time-budget=5000")
    found = re.search(r'data-measured="([^"]+)"', dumped.stdout)
    assert found is not None
    figures = [json.loads(line) for line in json.loads(unescape(found.group(1)))]
    assert {row["width"] for row in figures} == {390, 1280}
    n_pictures = text.count("<img ")
    for row in figures:
        assert row["scroll"] <= row["width"]
        assert row["images"] == row["loaded"] == n_pictures > 0


def _chromium(page: Path, profile: Path, *options: str) -> subprocess.CompletedProcess[str]:
    assert CHROMIUM is not None
    return subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *("--disable-background-networking", "--enable-logging=stderr"),
            *("--disable-dev-shm-usage", f"--user-data-dir={profile}"),
            *(*options, page.as_uri()),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
