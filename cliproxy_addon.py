"""Entry point: `mitmdump -s cliproxy_addon.py`. The addons list, nothing else.

Start reading at `addons/gateway.py`; `docs/architecture.md` has the picture.
"""

from pathlib import Path

# `from … import`, never `import addons.…`: mitmproxy reads the name `addons` below as the addon list.
from addons.commands import Commands
from addons.gateway import GatewayAddon
from addons.redaction import Redaction
from addons.views import Views

gateway = GatewayAddon(default_config=Path(__file__).resolve().parent / "config.yaml")
redaction = Redaction(gateway.secrets)
addons = [gateway, redaction, Views(), Commands(gateway, redaction)]
