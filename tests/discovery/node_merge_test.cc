#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <set>

#include "discovery/node_spec.h"

namespace sollol::discovery {
namespace {

NodeSpec node(std::string_view flag, std::string origin = "flag") {
  auto spec = parse_node_flag(flag);
  spec.value().origin = std::move(origin);
  return *spec;
}

std::vector<std::string> names(const std::vector<NodeSpec>& nodes) {
  std::vector<std::string> result;
  for (const auto& spec : nodes) result.push_back(spec.name);
  return result;
}

TEST(MergeNodes, KeepsTheFirstDescriptionOfAnAddress) {
  const auto merged = merge_nodes({.flags = {node("gpu,name=flag")},
                                   .config = {node("gpu,name=toml"), node("b,name=toml-b")},
                                   .node_file = {node("b,name=file-b"), node("c,name=file-c")},
                                   .base_urls = {node("c,name=url-c"), node("d,name=url-d")}});
  EXPECT_EQ(names(merged), (std::vector<std::string>{"flag", "toml-b", "file-c", "url-d"}));
}

TEST(MergeNodes, PlacesTheNodeOfOllamaHostFirst) {
  const auto merged = merge_nodes({.flags = {node("a")}, .ollama_host = node("b", "OLLAMA_HOST")});
  EXPECT_EQ(names(merged), (std::vector<std::string>{"b", "a"}));
}

TEST(MergeNodes, MovesADescribedNodeThatOllamaHostNamesToTheFrontAsItIs) {
  const auto merged = merge_nodes({.config = {node("a"), node("127.0.0.1,name=here,priority=3")},
                                   .ollama_host = node("localhost")});
  ASSERT_EQ(names(merged), (std::vector<std::string>{"here", "a"}));
  EXPECT_EQ(merged.front().priority, 3u);
}

TEST(MergeNodes, TakesLocalhostAnd127001ForOneHost) {
  EXPECT_EQ(
      merge_nodes({.flags = {node("localhost"), node("127.0.0.1"), node("localhost:1")}}).size(),
      2u);
}

TEST(MergeNodes, TellsPrefixesOfOneProxyApart) {
  EXPECT_EQ(merge_nodes({.flags = {node("proxy/gpu1"), node("proxy/gpu2")}}).size(), 2u);
}

TEST(UniqueNames, LeavesNamesThatWereAskedFor) {
  std::vector<NodeSpec> nodes = {node("a,name=gpu"), node("b,name=gpu"), node("c,name=gpu-2"),
                                 node("d,name=gpu")};
  unique_names(nodes);
  EXPECT_EQ(names(nodes), (std::vector<std::string>{"gpu", "gpu-3", "gpu-2", "gpu-4"}));
}

TEST(UniqueNames, MakesAnyNamesUniqueAndIsStable) {
  EXPECT_TRUE(rc::check([] {
    const auto wanted = *rc::gen::container<std::vector<std::string>>(rc::gen::element(
        std::string("g"), std::string("g-2"), std::string("g-3"), std::string("h")));
    std::vector<NodeSpec> nodes;
    for (const auto& name : wanted) nodes.push_back({.name = name});
    unique_names(nodes);
    const auto once = names(nodes);
    RC_ASSERT(std::set<std::string>(once.begin(), once.end()).size() == nodes.size());
    unique_names(nodes);
    RC_ASSERT(names(nodes) == once);
  }));
}

}  // namespace
}  // namespace sollol::discovery
