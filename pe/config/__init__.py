"""Read pe.yaml into typed sections; report every error with its file, line and cure."""

from pe.config.errors import ConfigError, ConfigErrors
from pe.config.reader import Configuration, load_config, parse_config, read_config

__all__ = [
    "ConfigError",
    "ConfigErrors",
    "Configuration",
    "load_config",
    "parse_config",
    "read_config",
]
