#!/usr/bin/env bash
# Runs every fuzz target of a build directory for some seconds each; stops at the first finding.
#   fuzz/run.sh BUILD_DIR [SECONDS]
# New inputs go to BUILD_DIR/fuzz/found/<target>, findings to BUILD_DIR/fuzz/crash-*.
set -euo pipefail
build=$(cd "${1:?usage: fuzz/run.sh BUILD_DIR [SECONDS]}" && pwd)
seconds=${2:-60}
here=$(cd "$(dirname "$0")" && pwd)
cd "$build/fuzz"
for program in ./fuzz_*; do
  target=${program#./fuzz_}
  dictionary=json
  case $target in
    request_head | response_head | chunked_body) dictionary=http ;;
    origin | node_url | model_key) dictionary=url ;;
    stream_watch | progress) dictionary=sse ;;
    multipart | settings) dictionary=${target/settings/toml} ;;
    import) dictionary=yaml ;;
  esac
  mkdir -p "found/$target"
  echo "== $target"
  "$program" -max_total_time="$seconds" -max_len=4096 -timeout=5 -rss_limit_mb=2048 -print_final_stats=0 -verbosity=0 \
    -dict="$here/dictionaries/$dictionary.dict" "found/$target" "$here/corpus/$target"
done
