// A node file: what is read can be changed, and reads back as changed.
#include "discovery/node_file.h"

#include "pieces.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sollol;
  auto file = discovery::NodeFile::parse(std::string(fuzz::text(data, size)), "nodes.json");
  if (!file) return 0;
  const auto nodes = file->nodes();
  for (const auto& node : nodes) {
    file->put(node);
    auto again = discovery::NodeFile::parse(file->text(), "nodes.json");
    fuzz::require(again.has_value() && again->nodes().size() == file->nodes().size());
  }
  for (const auto& node : nodes) (void)file->remove(node);
  fuzz::require(file->nodes().empty());
  fuzz::require(discovery::NodeFile::parse(file->text(), "nodes.json").has_value());
  return 0;
}
