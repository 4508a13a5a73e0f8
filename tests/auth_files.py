"""Auth files as CLIProxyAPI writes them, one for each provider, and tokens that tell something of themselves."""

import base64
import json
from typing import Any


def jwt(**claims: Any) -> str:
    """A token with these claims and no signature that anybody could check."""
    parts = ({"alg": "none"}, claims)
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join((*encoded, "test-signature"))


EXPIRED = "2026-11-21T12:00:00Z"
EXPIRED_S = 1795262400.0

AUTH_FILES: dict[str, dict[str, Any]] = {
    "claude-me@example.com.json": {
        "id_token": "",
        "access_token": "test-access-claude",
        "refresh_token": "test-refresh-claude",
        "last_refresh": "2026-11-21T04:00:00Z",
        "email": "me@example.com",
        "type": "claude",
        "expired": EXPIRED,
        "account_uuid": "0b1c",
        "organization_uuid": "2d3e",
        "organization_name": "me@example.com's Organization",
        "claude_device_ids": {"a": "b"},
    },
    "codex-me@example.com-plus.json": {
        "id_token": jwt(email="me@example.com"),
        "access_token": "test-access-codex",
        "refresh_token": "test-refresh-codex",
        "account_id": "acc-1",
        "last_refresh": "2026-11-21T12:00:00+08:00",
        "email": "me@example.com",
        "type": "codex",
        "expired": "2026-11-21T20:00:00+08:00",
        "websockets": True,
    },
    "antigravity-me@example.com.json": {
        "access_token": "test-access-antigravity",
        "refresh_token": "test-refresh-antigravity",
        "expires_in": 3599,
        "timestamp": 1795258801000,
        "expired": EXPIRED,
        "email": "me@example.com",
        "project_id": "useful-project",
        "type": "antigravity",
    },
    "kimi-1795258801000.json": {
        "access_token": "test-access-kimi",
        "refresh_token": "test-refresh-kimi",
        "token_type": "Bearer",
        "scope": "kimi-code",
        "device_id": "d-1",
        "expired": EXPIRED,
        "type": "kimi",
        "timestamp": 1795258801000,
    },
    "xai-me@example.com.json": {
        "access_token": "test-access-xai",
        "refresh_token": "test-refresh-xai",
        "id_token": jwt(email="me@example.com", sub="s-1"),
        "token_type": "Bearer",
        "expires_in": 21600,
        "expired": EXPIRED,
        "last_refresh": "2026-11-21T06:00:00Z",
        "email": "me@example.com",
        "sub": "s-1",
        "base_url": "https://cli-chat-proxy.grok.com/v1",
        "token_endpoint": "https://auth.x.ai/oauth2/token",
        "auth_kind": "oauth",
        "using_api": False,
        "type": "xai",
    },
    "vertex-useful-project.json": {
        "service_account": {"type": "service_account", "project_id": "useful-project", "private_key": "test-key"},
        "project_id": "useful-project",
        "email": "robot@useful-project.iam.gserviceaccount.com",
        "location": "us-central1",
        "type": "vertex",
        "prefix": "team",
    },
    "qwen-me@example.com.json": {
        "access_token": "test-access-qwen",
        "refresh_token": "test-refresh-qwen",
        "last_refresh": "2026-11-21T06:00:00Z",
        "resource_url": "portal.qwen.ai",
        "email": "me@example.com",
        "type": "qwen",
        "expired": EXPIRED,
    },
    "iflow-me@example.com.json": {
        "access_token": "test-access-iflow",
        "refresh_token": "test-refresh-iflow",
        "last_refresh": "2026-11-21T06:00:00Z",
        "expired": EXPIRED,
        "api_key": "sk-test-iflow",
        "email": "me@example.com",
        "token_type": "Bearer",
        "scope": "",
        "cookie": "",
        "type": "iflow",
    },
    "gemini-me@example.com-useful-project.json": {
        "token": {
            "access_token": "test-access-gemini",
            "token_type": "Bearer",
            "refresh_token": "test-refresh-gemini",
            "expiry": "2026-11-21T12:00:00.123456789Z",
            "client_id": "test-client",
            "scopes": ["https://www.googleapis.com/auth/cloud-platform"],
            "universe_domain": "googleapis.com",
        },
        "project_id": "useful-project",
        "email": "me@example.com",
        "auto": True,
        "checked": True,
        "type": "gemini",
    },
    "kiro-me@example.com.json": {
        "access_token": "test-access-kiro",
        "refresh_token": "test-refresh-kiro",
        "profile_arn": "arn:aws:codewhisperer:us-east-1:1:profile/A",
        "expires_at": EXPIRED,
        "auth_method": "builder-id",
        "provider": "AWS",
        "region": "us-east-1",
        "type": "kiro",
    },
}
"""By file name."""
