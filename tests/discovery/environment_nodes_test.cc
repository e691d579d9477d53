#include "discovery/environment_nodes.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace sollol::discovery {
namespace {

struct HostCase {
  const char* name;
  const char* value;
  const char* url;  // empty: refused
};
class ParseOllamaHost : public testing::TestWithParam<HostCase> {};
TEST_P(ParseOllamaHost, FollowsOllamasOwnRules) {
  const auto node = parse_ollama_host(GetParam().value);
  EXPECT_EQ(node ? node->url : "", GetParam().url);
}
INSTANTIATE_TEST_SUITE_P(
    Table, ParseOllamaHost,
    testing::Values(HostCase{"empty", "", "http://127.0.0.1:11434"},
                    HostCase{"host", "1.2.3.4", "http://1.2.3.4:11434"},
                    HostCase{"host_port", "1.2.3.4:1234", "http://1.2.3.4:1234"},
                    HostCase{"name", "example.com", "http://example.com:11434"},
                    HostCase{"name_port", "example.com:1234", "http://example.com:1234"},
                    HostCase{"http_is_80", "http://1.2.3.4", "http://1.2.3.4:80"},
                    HostCase{"https_is_443", "https://1.2.3.4", "https://1.2.3.4:443"},
                    HostCase{"http_port", "http://1.2.3.4:4321", "http://1.2.3.4:4321"},
                    HostCase{"https_port", "https://1.2.3.4:4321", "https://1.2.3.4:4321"},
                    HostCase{"port_only", ":1234", "http://127.0.0.1:1234"},
                    HostCase{"colon_only", ":", "http://127.0.0.1:11434"},
                    HostCase{"blanks_and_quotes", " \"1.2.3.4\" ", "http://1.2.3.4:11434"},
                    HostCase{"single_quotes", "'1.2.3.4'", "http://1.2.3.4:11434"},
                    HostCase{"port_too_big", "1.2.3.4:66000", "http://1.2.3.4:11434"},
                    HostCase{"port_negative", "1.2.3.4:-1", "http://1.2.3.4:11434"},
                    HostCase{"port_word", "https://gpu:x", "https://gpu:443"},
                    HostCase{"v6_bare", "::1", "http://[::1]:11434"},
                    HostCase{"v6_brackets", "[::1]", "http://[::1]:11434"},
                    HostCase{"v6_port", "[::1]:1234", "http://[::1]:1234"},
                    HostCase{"all_interfaces", "0.0.0.0", "http://127.0.0.1:11434"},
                    HostCase{"all_interfaces_port", "0.0.0.0:8080", "http://127.0.0.1:8080"},
                    HostCase{"all_v6_interfaces", "[::]:8080", "http://[::1]:8080"},
                    HostCase{"prefix", "https://example.com/ollama/",
                             "https://example.com:443/ollama"},
                    HostCase{"prefix_without_scheme", "gpu:1/a", "http://gpu:1/a"},
                    HostCase{"the_cloud", "ollama.com", "https://ollama.com:443"},
                    HostCase{"other_scheme", "ftp://gpu", ""},
                    HostCase{"no_host_at_all", "a b", ""}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(ParseOllamaHost, EndsWellOnAnyText) {
  EXPECT_TRUE(rc::check([](const std::string& text) {
    const auto node = parse_ollama_host(text);
    if (node) RC_ASSERT(node->port > 0 && !node->host.empty());
  }));
}

TEST(NodesFromEnvironment, IsEmptyInAnEmptyEnvironment) {
  const auto found = nodes_from_environment(MapEnvironment({}));
  EXPECT_EQ(found.ollama_host, std::nullopt);
  EXPECT_TRUE(found.base_urls.empty());
  EXPECT_TRUE(found.warnings.empty());
  EXPECT_EQ(found.auto_discover, AutoDiscover::on);
}

TEST(NodesFromEnvironment, TakesABlankOllamaHostForUnset) {
  EXPECT_EQ(nodes_from_environment(MapEnvironment({{"OLLAMA_HOST", " \"\" "}})).ollama_host,
            std::nullopt);
}

TEST(NodesFromEnvironment, NamesTheVariableAsTheOrigin) {
  const auto found = nodes_from_environment(MapEnvironment(
      {{"OLLAMA_HOST", "gpu"}, {"OLLAMA_BASE_URLS", "http://a:1; https://b/ollama ;;"}}));
  ASSERT_TRUE(found.ollama_host.has_value());
  EXPECT_EQ(found.ollama_host->origin, "OLLAMA_HOST");
  ASSERT_EQ(found.base_urls.size(), 2u);
  EXPECT_EQ(found.base_urls[0].url, "http://a:1");
  EXPECT_EQ(found.base_urls[1].url, "https://b:443/ollama");
  EXPECT_EQ(found.base_urls[1].origin, "OLLAMA_BASE_URLS");
}

TEST(NodesFromEnvironment, TakesAUrlWithoutPortAsOpenWebUiDoes) {
  const auto found = nodes_from_environment(MapEnvironment({{"OLLAMA_BASE_URLS", "http://a"}}));
  ASSERT_EQ(found.base_urls.size(), 1u);
  EXPECT_EQ(found.base_urls[0].url, "http://a:80");
}

TEST(NodesFromEnvironment, WarnsOfABadUrlAndKeepsTheOthers) {
  const auto found =
      nodes_from_environment(MapEnvironment({{"OLLAMA_BASE_URLS", "http://a:99999;http://b"}}));
  EXPECT_EQ(found.base_urls.size(), 1u);
  ASSERT_EQ(found.warnings.size(), 1u);
  EXPECT_NE(found.warnings[0].find("OLLAMA_BASE_URLS: node \"http://a:99999\""), std::string::npos)
      << found.warnings[0];
}

TEST(NodesFromEnvironment, ReadsAutoDiscover) {
  const auto read = [](const char* value) {
    return nodes_from_environment(MapEnvironment({{"SOLLOL_AUTO_DISCOVER", value}}));
  };
  for (const auto* off : {"false", "0", "no", "OFF"})
    EXPECT_EQ(read(off).auto_discover, AutoDiscover::off) << off;
  for (const auto* on : {"true", "1", "Yes", "on", ""})
    EXPECT_EQ(read(on).auto_discover, AutoDiscover::on) << on;
  EXPECT_EQ(read("maybe").auto_discover, AutoDiscover::on);
  EXPECT_EQ(read("maybe").warnings.size(), 1u);
}

}  // namespace
}  // namespace sollol::discovery
