"""How a page is opened in the browser of the tests."""


def look(browser, path, width=1280, theme="light"):
    """Opens the file at `path` in a window of that width, in a light or dark theme."""
    features = [{"name": "prefers-color-scheme", "value": theme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    window = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", window)
    browser.get(path.as_uri())
