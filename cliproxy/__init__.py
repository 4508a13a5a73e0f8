"""cliproxy: an AI gateway. This package is the gateway itself and never imports mitmproxy; `addons/` hosts it there."""
