"""Takes the pictures of README from a finished demo whose system still runs; needs Chromium and chromedriver.

prodchain demo --json --keep --home DIR > demo.json
python docs/pictures.py --home DIR --document demo.json
"""

import argparse
import json
import shutil
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

FOLDER = Path(__file__).parent / "pictures"
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--disable-quic",
    "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
LAYOUT = "Dependency grid"
"""The layout of Prefect's graph in which steps that run side by side are seen best."""
PATIENCE_S = 30.0


@contextmanager
def browser(width: int, height: int) -> Iterator[Any]:
    options = ChromeOptions()
    with tempfile.TemporaryDirectory(prefix="pictures-", ignore_cleanup_errors=True) as profile:
        for flag in (*FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
            options.add_argument(flag)
        driver = Chrome(options=options, service=Service(shutil.which("chromedriver") or "chromedriver"))
        try:
            yield driver
        finally:
            driver.quit()


def wait_for(true: Callable[[], Any]) -> Any:
    end = time.monotonic() + PATIENCE_S
    while not (found := true()):
        if time.monotonic() > end:
            raise TimeoutError("the page does not show what was expected")
        time.sleep(0.2)
    return found


def address(home: Path, name: str) -> str:
    port = json.loads((home / "run" / f"{name}.json").read_text())["port"]
    return f"http://127.0.0.1:{port}"


def newest_run(prefect: str) -> str:
    """The id of the newest flow run that completed."""
    wish = {"limit": 1, "sort": "START_TIME_DESC", "flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}
    request = urllib.request.Request(  # noqa: S310 - this machine's own server
        f"{prefect}/api/flow_runs/filter", json.dumps(wish).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        return str(json.load(answer)[0]["id"])


def press(driver: Any, selector: str, words: str) -> bool:
    """Click the first element of that kind whose text or label holds the words; False if there is none."""
    return bool(
        driver.execute_script(
            "const found = [...document.querySelectorAll(arguments[0])].find("
            "  each => (each.textContent + (each.getAttribute('aria-label') ?? '')).includes(arguments[1]));"
            "found?.click(); return !!found",
            selector,
            words,
        )
    )


def picture_of_the_run(prefect: str, target: Path) -> None:
    with browser(1400, 640) as driver:
        driver.get(f"{prefect}/runs/flow-run/{newest_run(prefect)}")
        wait_for(lambda: press(driver, "button", "Run Graph Options"))
        wait_for(lambda: press(driver, "label", LAYOUT))
        press(driver, "button", "Run Graph Options")
        press(driver, "button", "Recenter graph")
        time.sleep(3)  # the graph moves to its new places
        driver.save_screenshot(str(target))


def picture_of_a_page(page: str, words: str, target: Path, height: int = 1000) -> None:
    with browser(1400, height) as driver:
        driver.get(page)
        wait_for(lambda: words in driver.execute_script("return document.body.textContent"))
        driver.save_screenshot(str(target))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True, help="home of the running system")
    parser.add_argument("--document", type=Path, required=True, help="what `prodchain demo --json` printed")
    options = parser.parse_args()
    document = json.loads(options.document.read_text())
    plot = Path(document["plot"])
    picture_of_the_run(address(options.home, "prefect"), FOLDER / "prefect-run.png")
    server = address(options.home, "server")
    picture_of_a_page(server, "done", FOLDER / "monitor.png")
    task = next(step["task"] for step in document["steps"] if step["step"] == "sim")
    picture_of_a_page(f"{server}/tasks/{task}", "both at once", FOLDER / "monitor-task.png", height=1300)
    shutil.copyfile(plot, FOLDER / "mass.png")
    document["plot"] = "mass.png"  # where it was says nothing to others
    (FOLDER / "demo.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
