"""How well each text of a page can be read: WCAG's contrast ratio, from the styles that the browser computed."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

# Elements with text of their own that are shown, each with the ratio of its colour to what lies behind it.
MEASURE = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (css) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = css; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = rgba(getComputedStyle(at).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return matchMedia("(prefers-color-scheme: dark)").matches ? [0, 0, 0, 255] : [255, 255, 255, 255];
  };
  return [...document.body.querySelectorAll("*")]
    .filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
    .filter((e) => e.checkVisibility({ visibilityProperty: true }) && !e.closest("svg"))
    .map((e) => {
      const style = getComputedStyle(e);
      const [ink, ground] = [light(rgba(style.color)), light(behind(e))];
      const ratio = (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
      const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
      return [ratio, large ? 3 : 4.5, `${e.tagName}.${e.className}: ${e.textContent.trim().slice(0, 40)}`];
    });
}"""


def hard_to_read(page: "Page") -> list[str]:
    """Texts below WCAG 2.2's level AA: 4.5, and 3 where the letters are large."""
    measured = page.evaluate(MEASURE)
    assert measured
    return sorted({f"{ratio:.2f} {what}" for ratio, least, what in measured if ratio < least})
