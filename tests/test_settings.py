"""Settings: read from the environment, refused by name."""

import subprocess
import sys
from pathlib import Path

import pytest

from adaptseg_serve.errors import ConfigError
from adaptseg_serve.settings import Settings, read_settings


def test_an_empty_environment_gives_the_defaults() -> None:
    assert read_settings({}) == Settings()
    assert read_settings({"ADAPTSEG_MAX_BATCH": ""}) == Settings()


def test_variables_are_read() -> None:
    settings = read_settings({"ADAPTSEG_BUNDLE": "/b", "ADAPTSEG_MAX_BATCH": "3", "ADAPTSEG_MAX_DELAY": "0.5"})
    assert (settings.bundle, settings.max_batch, settings.max_delay) == (Path("/b"), 3, 0.5)


def test_the_queue_is_twice_the_batch_unless_it_is_set() -> None:
    assert read_settings({"ADAPTSEG_MAX_BATCH": "3"}).depth == 6
    assert read_settings({"ADAPTSEG_MAX_BATCH": "3", "ADAPTSEG_QUEUE_DEPTH": "4"}).depth == 4


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("ADAPTSEG_MAX_BATCH", "many", "a whole number"),
        ("ADAPTSEG_MAX_BATCH", "0", "between 1 and 1024"),
        ("ADAPTSEG_MAX_PIXELS", "-1", "at least 1"),
        ("ADAPTSEG_RUNTIME", "onnxruntime-cdua", "one of auto, onnxruntime-cpu"),
        ("ADAPTSEG_MAX_BODY_BYTES", "2147483648", "between 1024 and 2147483647"),
        ("ADAPTSEG_GRPC_PORT", "70000", "between 0 and 65535"),
        ("ADAPTSEG_MAX_DELAY", "soon", "a number"),
        ("ADAPTSEG_DRAIN_GRACE", "nan", "between 0 and 600"),
        ("ADAPTSEG_MAX_STREAMS", "0", "between 1 and"),
        ("ADAPTSEG_CORS_ORIGINS", "*", "exact origins .* never \\*"),
        ("ADAPTSEG_CORS_ORIGINS", "null", "exact origins"),
        ("ADAPTSEG_CORS_ORIGINS", "https://maps.example,https://*.example", "exact origins"),
        ("ADAPTSEG_CORS_ORIGINS", "https://maps.example/", "exact origins"),
        ("ADAPTSEG_CORS_ORIGINS", "maps.example", "exact origins"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_variable(name: str, value: str, says: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}=.*{says}.*unset it for"):
        read_settings({name: value})


def test_origins_are_a_list_with_commas() -> None:
    asked = "https://maps.example, http://127.0.0.1:8080 ,http://[::1]:80,"
    found = read_settings({"ADAPTSEG_CORS_ORIGINS": asked}).cors_origins
    assert found.each == ["https://maps.example", "http://127.0.0.1:8080", "http://[::1]:80"]
    assert Settings().cors_origins.each == []


def test_a_misspelt_variable_is_refused_and_a_stranger_passes() -> None:
    with pytest.raises(ConfigError, match=r"ADAPTSEG_MAX_BATCHES.*perhaps you meant ADAPTSEG_MAX_BATCH"):
        read_settings({"ADAPTSEG_MAX_BATCHES": "3"})
    assert read_settings({"ADAPTSEG_SOMETHING_ELSE": "1"}) == Settings()


def test_the_module_prints_the_effective_settings() -> None:
    environ = {"ADAPTSEG_MAX_BATCH": "5"}
    done = subprocess.run(
        [sys.executable, "-m", "adaptseg_serve.settings"], env=environ, capture_output=True, text=True, check=True
    )
    assert "ADAPTSEG_MAX_BATCH=5  # most images" in done.stdout
