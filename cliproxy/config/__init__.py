"""The configuration: what `config.yaml` may hold (`schema`), what other programs' files hold besides
(`compat`), and how a file is read (`loading`). Nothing here depends on network, accounts or clock.
"""

from .loading import ConfigFault, Loaded, load_config, parse_config
from .schema import Config

__all__ = ["Config", "ConfigFault", "Loaded", "load_config", "parse_config"]
