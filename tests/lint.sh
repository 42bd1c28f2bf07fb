#!/usr/bin/env bash
# Checks the format of every C++ file and runs clang-tidy over every compiled one. Needs clang-format and clang-tidy
# (Debian's 14) and a build. Takes some minutes.
#   tests/lint.sh [FILE...]     clang-tidy over these only
set -euo pipefail
cd "$(dirname "$0")/.."
git ls-files '*.h' '*.cc' | xargs clang-format --dry-run -Werror
echo "format: clean"
bazel build --noshow_progress --ui_event_filters=-info -- //...
# Those that no test needs.
bazel query --noshow_progress 'attr(tags, manual, kind(cc_binary, //tests/bench/...))' 2>/dev/null |
  xargs bazel build --noshow_progress --ui_event_filters=-info --
python3 bazel/compile_commands.py
if [ $# -eq 0 ]; then
  mapfile -t files < <(python3 -c 'import json; print("\n".join(c["file"] for c in json.load(open("compile_commands.json"))))')
  set -- "${files[@]}"
fi
printf '%s\n' "$@" | xargs -P "$(nproc)" -n 4 clang-tidy --quiet -p .
echo "clang-tidy: clean"
