// A node's address as a person, a flag or OLLAMA_HOST has it: what is taken reads back as itself.
#include "discovery/environment_nodes.h"
#include "discovery/node_spec.h"
#include "pieces.h"

namespace {

using namespace sollol;

void check(const Result<discovery::NodeSpec>& node) {
  if (!node) return fuzz::require(!node.error().detail.empty());
  for (const char c : node->url) fuzz::require(static_cast<unsigned char>(c) > 0x20 && c != 0x7f);
  fuzz::require(node->port != 0 && !node->host.empty());
  const auto again = discovery::parse_node_url(node->url);
  fuzz::require(again.has_value());
  fuzz::require(again->host == node->host && again->port == node->port);
  fuzz::require(discovery::address_key(*again) == discovery::address_key(*node));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = fuzz::text(data, size);
  check(discovery::parse_node_url(text));
  check(discovery::parse_node_url(text, discovery::MissingPort::web));
  check(discovery::parse_node_flag(text));
  check(discovery::parse_ollama_host(text));
  if (const auto name = discovery::parse_node_name(text)) {
    for (const char c : *name) fuzz::require(static_cast<unsigned char>(c) >= 0x20 && c != ',');
  }
  return 0;
}
