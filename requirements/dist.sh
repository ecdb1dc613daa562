#!/bin/sh
# Build the wheel and the sdist, check their metadata, and install each into an empty environment of every Python found.
set -eu
cd "$(dirname "$0")/.."
uv=.venv/bin/uv
rm -rf dist build
$uv build --quiet --out-dir dist
.venv/bin/twine check --strict dist/*

tried=0
empty=$(mktemp -d)
trap 'rm -rf "$empty"' EXIT
for version in 3.11 3.12 3.13; do
    python=$($uv python find --no-project --no-python-downloads "$version" 2>/dev/null) || {
        echo "Python $version: not on this machine, not tried"
        continue
    }
    for file in dist/*.whl dist/*.tar.gz; do
        $uv venv --quiet --clear --python "$python" "$empty/venv"
        $uv pip install --quiet --python "$empty/venv" "$file"
        # No endpoint answers here: writing a recipe and reading it needs every packaged file and most of the imports.
        "$empty/venv/bin/muser" init "$empty/first" >/dev/null 2>&1
        "$empty/venv/bin/muser" graph "$empty/first/recipe.yaml" --set models.main.model=any >/dev/null
        rm -rf "$empty/first"
        echo "Python $version, $(basename "$file"): $("$empty/venv/bin/muser" version)"
        tried=$((tried + 1))
    done
done
[ "$tried" -gt 0 ] || { echo "no Python of 3.11 to 3.13 was found"; exit 1; }
