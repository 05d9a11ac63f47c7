"""Open a page in Chromium without a screen, click a header twice, take its picture.

    python tests/browse.py PAGE.html PICTURE.png HEADER

Prints a json line: the page's title, its messages, and the first cells of its table
before and after the clicks.
"""

import json
import os
import pathlib
import sys

os.environ |= {
    "QT_QPA_PLATFORM": "offscreen",
    "QTWEBENGINE_DISABLE_SANDBOX": "1",
    "QTWEBENGINE_CHROMIUM_FLAGS": "--no-sandbox --disable-gpu",
}

from PyQt6 import QtCore
from PyQt6 import QtWebEngineCore
from PyQt6 import QtWebEngineWidgets
from PyQt6 import QtWidgets

LOOK = """(() => {
  const table = document.querySelector("table");
  const cells = () => [...table.tBodies[0].rows].map(r => r.cells[0].textContent);
  const before = cells();
  const header = [...table.querySelectorAll("th")].find(h => h.textContent == HEADER);
  header.click(), header.click();
  const svg = [...document.querySelectorAll("svg")].map(s => s.clientWidth);
  return JSON.stringify({title: document.title, before, after: cells(), svg});
})()"""


class Page(QtWebEngineCore.QWebEnginePage):
    """A page that keeps what it says on its console."""

    def __init__(self, view):
        super().__init__(view)
        self.said = []

    def javaScriptConsoleMessage(self, level, message, line, source):
        """Note a message."""
        self.said.append(message)


def main(page, picture, header):
    """Open, click, grab, print."""
    app = QtWidgets.QApplication(sys.argv[:1])
    view = QtWebEngineWidgets.QWebEngineView()
    told = Page(view)
    view.setPage(told)
    view.resize(1300, 1600)

    def shown(text):
        print(json.dumps(json.loads(text) | {"said": told.said}), flush=True)
        grab = lambda: (view.grab().save(picture), app.quit())
        QtCore.QTimer.singleShot(500, grab)

    script = LOOK.replace("HEADER", json.dumps(header))
    view.loadFinished.connect(lambda _: view.page().runJavaScript(script, shown))
    view.load(QtCore.QUrl.fromLocalFile(str(pathlib.Path(page).resolve())))
    view.show()
    QtCore.QTimer.singleShot(60_000, lambda: app.exit(1))
    sys.exit(app.exec())


if __name__ == "__main__":
    main(*sys.argv[1:])
