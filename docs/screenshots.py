"""Takes the pictures of docs/viewer.md and docs/data.md, from runs on the simulated endpoint: `make screenshots`."""

import asyncio
import io
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.async_api import Page, async_playwright

from muser.endpoints.simulated.server import simulated_endpoint

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
STUDY = """\
name: study
samples: 1000
models:
  simulated: {{base_url: "{url}", model: simulated}}
"""


async def take_pictures(folder: Path) -> None:
    """Runs the demo's twenty questions with long answers, and simulated users; then walks through the viewer."""
    async with simulated_endpoint(long=True) as url, async_playwright() as playwright:
        (folder / "recipe.yaml").write_text(RECIPE.format(url=url))
        shutil.copy(RECIPES / "questions.jsonl", folder)
        await muser(folder, "run", "recipe.yaml")
        (folder / "study.yaml").write_text(STUDY.format(url=url))
        await muser(folder, "run", "study.yaml")
        path = next(filter(None, map(shutil.which, CHROMIUM)))
        browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = await browser.new_page(viewport={"width": WIDTH, "height": 640})
        command = [sys.executable, "-m", "muser", "view", "--port=0", "--no-browser"]
        server = await asyncio.create_subprocess_exec(*command, cwd=folder, stderr=asyncio.subprocess.PIPE)
        try:
            assert server.stderr
            address = (await server.stderr.readline()).decode().rpartition(" at ")[2].strip()
            await of_the_walk(page, address)
            prompt = next((folder / "muser.db-prompts").glob("safety-*.md"))
            change = f"critics.safety.prompt={prompt}"
            await muser(folder, "replay", "--run", "demo-questions", "--from", "safety", "--set", change)
            await page.goto(f"{address.partition('?')[0]}compare?a=demo-questions&b=demo-questions-fork")
            await save(page, "compare", height=900)
            await page.goto(f"{address.partition('?')[0]}runs/study/coverage?rows=identity&columns=completeness")
            await save(page, "coverage", height=900)
        finally:
            server.terminate()
            await server.wait()
        await muser(folder, "view", "demo-questions", "--export", "demo.html")
        await page.goto((folder / "demo.html").as_uri())
        await page.locator("#search").fill("fever")
        await save(page, "export", height=480)
        await browser.close()


async def of_the_walk(page: Page, address: str) -> None:
    """From the runs to a sample with a safety revision, then its replay with another prompt."""
    await page.goto(address)
    await save(page, "runs", height=300)
    await page.goto(f"{address.partition('?')[0]}runs/demo-questions")
    await save(page, "run", height=900)
    await page.goto(page.url + "/samples?where=verdict.safety%3Drevise")
    await save(page, "samples", height=520)
    await page.locator("ol.samples a.row").nth(2).click()
    await page.wait_for_selector("#playground")
    await save(page, "trace", height=1120)
    await scroll_to(page, "#refine")
    await save(page, "refinement", height=720)
    form = page.locator("#playground details", has_text="critics.safety")
    await form.locator("summary").click()
    prompt = form.locator("textarea")
    await prompt.fill((await prompt.input_value()).replace("**safety**", "**empathy**"))
    await page.set_viewport_size({"width": WIDTH, "height": 640})
    await prompt.evaluate("(area) => { area.scrollTop = 0; }")
    await scroll_to(page, "#playground")
    await save(page, "playground")
    await form.get_by_role("button").click()
    await page.wait_for_selector("#replay ins")
    await save(page, "replay", height=900)


async def scroll_to(page: Page, selector: str) -> None:
    """Puts the element below the bar, which stays at the top of the window."""
    await page.locator(selector).evaluate("(one) => scrollTo(0, one.getBoundingClientRect().top + scrollY - 60)")


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
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "muser", *words, cwd=folder)
    if await process.wait():
        raise SystemExit(f"muser {' '.join(words)} failed")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        asyncio.run(take_pictures(Path(made)))
