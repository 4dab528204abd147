"""Settings: where values come from, which are refused, and that secrets stay secret."""

from pathlib import Path

import pytest

from flows.settings import Settings, load_settings
from warehouse_schema.errors import ConfigurationError

EXAMPLE = Path(__file__).parents[3] / "ribline.example.toml"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(Settings.model_fields):
        monkeypatch.delenv(f"RIBLINE_{name.upper()}", raising=False)
    monkeypatch.delenv("RIBLINE_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, text: str, name: str = "ribline.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_defaults_say_so() -> None:
    settings = load_settings()
    assert (settings.home, settings.origin("home")) == (Path("ribline-home"), "default")


def test_variable_wins_over_file_and_each_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(folder, "seed = 3\nsize_px = 512\n")
    monkeypatch.setenv("RIBLINE_SEED", "4")
    settings = load_settings()
    assert (settings.seed, settings.origin("seed")) == (4, "RIBLINE_SEED")
    assert (settings.size_px, settings.origin("size_px")) == (512, str(path))


def test_option_wins_over_variable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIBLINE_HOME", "elsewhere")
    monkeypatch.setenv("RIBLINE_SEED", "4")
    settings = load_settings(home=folder / "given").replaced(seed=5)
    assert (settings.home, settings.origin("home")) == (folder / "given", "--home")
    assert (settings.seed, settings.origin("seed")) == (5, "--seed")


def test_option_that_is_not_given_changes_nothing() -> None:
    assert load_settings().replaced(seed=None).origin("seed") == "default"


def test_paths_in_a_file_are_relative_to_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "etc").mkdir()
    path = write(
        folder / "etc",
        'home = "h"\nimage_folder = "dicom"\nsite_mapping = "own.toml"\n'
        'database_url = "sqlite:///x.sqlite"\n',
    )
    monkeypatch.setenv("RIBLINE_CONFIG", str(path))
    settings = load_settings()
    assert settings.home == folder / "etc" / "h"
    assert settings.image_folder == folder / "etc" / "dicom"
    assert settings.site_mapping == str(folder / "etc" / "own.toml")
    assert settings.require("database_url") == f"sqlite:///{folder}/etc/x.sqlite"


def test_file_in_the_home_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "home").mkdir()
    write(folder / "home", "seed = 7\n")
    monkeypatch.setenv("RIBLINE_HOME", str(folder / "home"))
    assert load_settings().seed == 7
    assert load_settings(home=folder / "home").seed == 7


def test_findings_from_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIBLINE_FINDINGS", "rib_fracture, clavicle_fracture")
    assert load_settings().findings == ("rib_fracture", "clavicle_fracture")


def test_recipe_overrides_from_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIBLINE_RECIPE_OVERRIDES", '{"n_epochs": 2}')
    assert load_settings().recipe_overrides == {"n_epochs": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed = ", "cannot be read as TOML"),
        ("sead = 1", "unknown key sead; did you mean seed?"),
        ("zzz = 1", "known are as_of, box_file"),
        ('seed = "one"', "seed (from "),
        ("size_px = 10", "greater than or equal to 64"),
        ("n_folds = 1", "n_folds"),
        ('pseudonym_key = "0123456789abcdef"', "pseudonym_key is a secret"),
        ('database_url = "postgresql://u:hunter2@db/emr"', "database_url holds a password"),
        ('database_url = "postgresql://db/emr?password=hunter2"', "database_url holds a password"),
    ],
)
def test_malformed_file_is_one_line(folder: Path, text: str, message: str) -> None:
    write(folder, text)
    with pytest.raises(ConfigurationError) as error:
        load_settings()
    assert message in str(error.value)
    assert "ribline.toml" in str(error.value)
    assert "\n" not in str(error.value)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("RIBLINE_SEAD", "1", "unknown variable RIBLINE_SEAD; did you mean RIBLINE_SEED?"),
        ("RIBLINE_SEED", "-1", "seed (from RIBLINE_SEED): got '-1'"),
        ("RIBLINE_RECIPE_OVERRIDES", "{", "recipe_overrides (from RIBLINE_RECIPE_OVERRIDES)"),
        ("RIBLINE_CONFIG", "nowhere.toml", "RIBLINE_CONFIG: there is no file"),
    ],
)
def test_malformed_variable_is_one_line(
    name: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as error:
        load_settings()
    assert message in str(error.value)


def test_secret_from_a_file(folder: Path) -> None:
    write(folder, "  a-long-enough-secret\n", "key")
    write(folder, 'pseudonym_key_file = "key"\n')
    settings = load_settings()
    assert settings.require("pseudonym_key") == "a-long-enough-secret"
    assert settings.origin("pseudonym_key") == f"pseudonym_key_file {folder / 'key'}"
    assert "enough" not in settings.shown("pseudonym_key") + repr(settings)


def test_secret_from_a_variable_wins_over_a_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, 'pseudonym_key_file = "key"\n')
    monkeypatch.setenv("RIBLINE_PSEUDONYM_KEY", "from-the-environment")
    assert load_settings().require("pseudonym_key") == "from-the-environment"


def test_file_variable_wins_over_a_url_in_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, 'database_url = "sqlite:///old.sqlite"\n')
    monkeypatch.setenv("RIBLINE_DATABASE_URL_FILE", str(write(folder, "sqlite:///new", "url")))
    assert load_settings().require("database_url") == "sqlite:///new"


@pytest.mark.parametrize(("content", "message"), [(None, "cannot read"), ("\n", "is empty")])
def test_unusable_secret_file(folder: Path, content: str | None, message: str) -> None:
    if content is not None:
        write(folder, content, "key")
    write(folder, 'pseudonym_key_file = "key"\n')
    with pytest.raises(ConfigurationError, match=message):
        load_settings().require("pseudonym_key")


def test_missing_value_names_its_variable() -> None:
    with pytest.raises(ConfigurationError, match="Set RIBLINE_DATABASE_URL, or RIBLINE_DATABASE"):
        load_settings().require("database_url")
    with pytest.raises(ConfigurationError, match="put image_folder into"):
        load_settings().require("image_folder")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:hunter2@db:5432/emr", "postgresql://u:********@db:5432/emr"),
        ("postgresql://db/emr?password=hunter2", "postgresql://:********@db/emr"),
        ("sqlite:///h.sqlite", "sqlite:///h.sqlite"),
        ("mysql://u:hunter2@[::1/x", "********"),
    ],
)
def test_url_is_shown_without_its_password(
    url: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RIBLINE_DATABASE_URL", url)
    assert load_settings().shown("database_url") == shown
    assert "hunter2" not in repr(load_settings())


def test_example_file_names_every_setting(folder: Path) -> None:
    text = EXAMPLE.read_text()
    secrets = {"pseudonym_key", "publish_url", "pacs_password", "pacs_token"}
    assert {name for name in Settings.model_fields if f"{name} =" not in text} - secrets == {
        "recipe_overrides"
    }
    assert "[recipe_overrides]" in text
    write(folder, text)
    values = {name: getattr(load_settings(), name) for name in Settings.model_fields}
    assert values | {"home": Path("ribline-home")} == Settings().model_dump()
