"""Takes the pictures of docs/viewer.md, of the twenty questions that the demo ends with: `make screenshots`."""

import asyncio
import io
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.async_api import Page, async_playwright

from muser.endpoints.simulated import simulated_endpoint

HERE = Path(__file__).parent
IMAGES = HERE / "images"
RECIPES = HERE.parent / "recipes"
WIDTH, COLORS = 1100, 64
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
RECIPE = """\
name: demo-questions
queries: questions.jsonl
models:
  simulated: {{base_url: "{url}", model: simulated}}
critics:
  decision: {{prompt: decision.md}}
  communication: {{prompt: communication.md}}
  safety: {{prompt: safety.md}}
"""


async def take_pictures(folder: Path) -> None:
    """Runs the questions, replays them under another safety critic, and takes every picture."""
    async with simulated_endpoint() as url, async_playwright() as playwright:
        (folder / "recipe.yaml").write_text(RECIPE.format(url=url))
        for name in ("questions.jsonl", "empathy.md"):
            shutil.copy(RECIPES / name, folder)
        await muser(folder, "run", "recipe.yaml")
        change = "critics.safety.prompt=empathy.md"
        await muser(folder, "replay", "--run", "demo-questions", "--from", "safety", "--set", change)
        await muser(folder, "view", "demo-questions", "demo-questions-fork", "--export", "out.html")
        path = next(filter(None, map(shutil.which, CHROMIUM)))
        browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = await browser.new_page(viewport={"width": WIDTH, "height": 640})
        await of_the_export(page, (folder / "out.html").as_uri())
        await browser.close()


async def of_the_export(page: Page, address: str) -> None:
    """The single file: its list, a trace, the two runs and a pair of samples."""
    await page.goto(address)
    await page.get_by_label("sent back by…").select_option("safety")
    await save(page, "list")
    await page.goto(f"{address}#demo-questions/q000003")
    await save(page, "trace", height=1000)
    await page.goto(f"{address}#=")
    await save(page, "compare")
    await page.locator("ol.samples a").first.click()
    await save(page, "pair", height=1000)


async def save(page: Page, name: str, height: int = 640) -> None:
    """One picture, in few enough colours to stay small."""
    await page.set_viewport_size({"width": WIDTH, "height": height})
    taken = Image.open(io.BytesIO(await page.screenshot()))
    IMAGES.mkdir(exist_ok=True)
    path = IMAGES / f"{name}.png"
    taken.convert("RGB").quantize(COLORS, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path.relative_to(HERE.parent)}: {path.stat().st_size / 1024:.0f} KB")


async def muser(folder: Path, *words: str) -> None:
    """A muser command in the folder."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "muser.cli", *words, cwd=folder)
    if await process.wait():
        raise SystemExit(f"muser {' '.join(words)} failed")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        asyncio.run(take_pictures(Path(made)))
