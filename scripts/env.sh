# shellcheck shell=bash
# Sourced, not run: puts the tools that scripts/setup installs on PATH.
# They live outside the tree, so that a clean checkout stays clean and a second one need not
# install them again.
ENDCAP_TOOLS=$(realpath -m "${ENDCAP_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/endcap-tools}")
export ENDCAP_TOOLS
export PATH="$ENDCAP_TOOLS/bin:$PATH"
