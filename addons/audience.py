"""Whether anyone but the gateway sees or changes flows.

mitmproxy offers every flow to some forty addons at each of its steps, which costs more than everything else that
happens to a request. When none of them would do anything with it (plain mitmdump with `flow_detail=0`, no file
being written, no other script), the gateway's flows skip that round, and no attempt flows are made. The doubt is on
the side of an audience: an addon that is not mitmdump's own, or an option that is not known to be harmless and was
changed, counts as one.
"""

from mitmproxy import addons as mitmproxy_addons
from mitmproxy import ctx
from mitmproxy.addons import dumper, errorcheck, keepserving, readfile, termlog

_HARMLESS_OPTIONS = frozenset(
    {
        "add_upstream_certs_to_client_chain", "body_size_limit", "cert_passphrase", "certs", "ciphers_client",
        "ciphers_server", "client_certs", "cliproxy_config", "cliproxy_intercept", "cliproxy_tethered",
        "command_history", "confdir", "connect_addr", "connection_strategy", "flow_detail", "key_size", "listen_host",
        "listen_port", "mode", "normalize_outbound_headers", "onboarding", "proxy_debug", "rawtcp",
        "request_client_cert", "scripts", "server", "showhost", "ssl_insecure", "ssl_verify_upstream_trusted_ca",
        "ssl_verify_upstream_trusted_confdir", "tcp_timeout", "termlog_verbosity", "tls_ecdh_curve_client",
        "tls_ecdh_curve_server", "tls_version_client_max", "tls_version_client_min", "tls_version_server_max",
        "tls_version_server_min", "upstream_cert", "validate_inbound_headers", "websocket",
    }
)  # fmt: skip
"""Options about connections and logs: changing them does not make an addon look at flows."""

_SILENT_ADDONS = (
    *{type(addon) for addon in mitmproxy_addons.default_addons()},
    dumper.Dumper,
    errorcheck.ErrorCheck,
    keepserving.KeepServing,
    readfile.ReadFileStdin,
    termlog.TermLog,
)
"""mitmdump's own addons: with their options at default they leave flows alone, the dumper with `flow_detail` 0."""


def is_present() -> bool:
    """Look at the addons and options as they are now."""
    options = ctx.options
    # Only mitmdump has `flow_detail`; the other programs show every flow.
    if "flow_detail" not in options or options.flow_detail > 0 or len(options.scripts) > 1:
        return True
    if any(not isinstance(addon, _SILENT_ADDONS) for addon in ctx.master.addons.chain):
        return True
    return any(options.has_changed(name) for name in options.keys() if name not in _HARMLESS_OPTIONS)
