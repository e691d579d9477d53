// Lines of three nodes that pull, push or create, merged: whole lines come out, and an end always.
#include "api/progress.h"

#include "pieces.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sollol;
  if (size < 1) return 0;
  constexpr api::Operation operations[] = {api::Operation::pull, api::Operation::push,
                                           api::Operation::create, api::Operation::copy};
  api::ProgressMerger merger({"a", "b", "c"}, operations[data[0] % 4]);
  std::string_view rest = fuzz::text(data + 1, size - 1);
  std::size_t node = 0;
  while (!rest.empty()) {
    const std::size_t end = rest.find('\n');
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    node = (node + 1 + line.size()) % 3;
    if (line == "ok") {
      merger.node_succeeded(node);
    } else if (line == "failed") {
      merger.node_failed(node, line, 404);
    } else {
      const std::string out = merger.feed(node, line);
      fuzz::require(out.empty() || out.ends_with('\n'));
    }
  }
  fuzz::require(!merger.finish().empty());
  const int status = merger.status_for_unstreamed();
  fuzz::require(status >= 200 && status < 600);
  (void)merger.body_for_unstreamed();
  return 0;
}
