"""Files that others may read."""

from lmlab.files import share


def test_a_shared_file_has_the_permissions_of_any_new_one(tmp_path):
    private, usual = tmp_path / "private", tmp_path / "usual"
    private.touch(mode=0o600), usual.touch()
    share(private)
    assert private.stat().st_mode == usual.stat().st_mode
    assert sorted(each.name for each in tmp_path.iterdir()) == ["private", "usual"]
