"""Entry point: `mitmdump -s cliproxy_addon.py`. The addons list, nothing else.

Start reading at `addons/gateway.py`; `docs/architecture.md` has the picture.
"""

from pathlib import Path

# `from … import`, never `import addons.…`: mitmproxy reads the name `addons` below as the addon list.
from addons.gateway import GatewayAddon

addons = [GatewayAddon(default_config=Path(__file__).resolve().parent / "config.yaml")]
