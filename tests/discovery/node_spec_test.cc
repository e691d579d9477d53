#include "discovery/node_spec.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace sollol::discovery {
namespace {

struct UrlCase {
  const char* name;
  const char* text;
  const char* url;   // empty: refused
  const char* node;  // the derived name, or a word of the error
  MissingPort missing = MissingPort::ollama;
};

class ParseNodeUrl : public testing::TestWithParam<UrlCase> {};

TEST_P(ParseNodeUrl, GivesTheCanonicalUrlAndAName) {
  const auto& row = GetParam();
  const auto node = parse_node_url(row.text, row.missing);
  if (*row.url == '\0') {
    ASSERT_FALSE(node.has_value());
    EXPECT_NE(node.error().detail.find(row.node), std::string::npos) << node.error().detail;
    return;
  }
  ASSERT_TRUE(node.has_value()) << node.error().detail;
  EXPECT_EQ(node->url, row.url);
  EXPECT_EQ(node->name, row.node);
}

INSTANTIATE_TEST_SUITE_P(
    Table, ParseNodeUrl,
    testing::Values(
        UrlCase{"full", "http://gpu:8080", "http://gpu:8080", "gpu:8080"},
        UrlCase{"bare_host", "gpu", "http://gpu:11434", "gpu"},
        UrlCase{"host_and_port", "10.0.0.5:1234", "http://10.0.0.5:1234", "10.0.0.5:1234"},
        UrlCase{"http_without_port_is_ollamas", "http://gpu-node", "http://gpu-node:11434",
                "gpu-node"},
        UrlCase{"http_without_port_in_web_files", "http://gpu-node", "http://gpu-node:80",
                "gpu-node:80", MissingPort::web},
        UrlCase{"bare_host_in_web_files", "gpu", "http://gpu:11434", "gpu", MissingPort::web},
        UrlCase{"https", "https://gpu", "https://gpu:443", "gpu:443"},
        UrlCase{"upper_case", "HTTP://GPU.Local:11434", "http://gpu.local:11434", "gpu.local"},
        UrlCase{"slashes_at_the_end", "http://gpu:11434//", "http://gpu:11434", "gpu"},
        UrlCase{"prefix", "http://gpu/ollama/", "http://gpu:11434/ollama", "gpu/ollama"},
        UrlCase{"openai_path_is_dropped", "http://gpu:11434/v1/", "http://gpu:11434", "gpu"},
        UrlCase{"api_path_is_dropped", "gpu/api", "http://gpu:11434", "gpu"},
        UrlCase{"v6_in_brackets", "[::1]:8080", "http://[::1]:8080", "[::1]:8080"},
        UrlCase{"v6_without_port", "http://[fe80::1]", "http://[fe80::1]:11434", "fe80::1"},
        UrlCase{"v6_bare", "::1", "http://[::1]:11434", "::1"},
        UrlCase{"v6_long_form", "[0:0:0:0:0:0:0:1]", "http://[::1]:11434", "::1"},
        UrlCase{"all_interfaces_is_loopback", "0.0.0.0:11434", "http://127.0.0.1:11434",
                "127.0.0.1"},
        UrlCase{"all_v6_interfaces_too", "[::]", "http://[::1]:11434", "::1"},
        UrlCase{"blanks", "  gpu \n", "http://gpu:11434", "gpu"},
        UrlCase{"root_dot", "gpu.lan.:1", "http://gpu.lan:1", "gpu.lan:1"},
        UrlCase{"empty", " ", "", "write http://host:11434"},
        UrlCase{"only_scheme", "http://", "", "not a host"},
        UrlCase{"no_host", ":11434", "", "not a host"},
        UrlCase{"ftp", "ftp://gpu", "", "http:// or https://"},
        UrlCase{"port_zero", "gpu:0", "", "1 to 65535"},
        UrlCase{"port_too_big", "gpu:65536", "", "1 to 65535"},
        UrlCase{"port_word", "gpu:http", "", "1 to 65535"},
        UrlCase{"port_signed", "gpu:+1", "", "1 to 65535"},
        UrlCase{"password", "http://me:secret@gpu", "", "drop the part before @"},
        UrlCase{"query", "http://gpu/?a=b", "", "query"},
        UrlCase{"blank_inside", "http://gpu/a b", "", "path"},
        UrlCase{"line_break_inside", "http://gpu/a\r\nX: y", "", "path"},
        UrlCase{"only_dots", "..", "", "not a host"},
        UrlCase{"empty_label", "gpu..lan", "", "not a host"},
        UrlCase{"host_with_blank", "my gpu", "", "not a host"},
        UrlCase{"open_bracket", "[::1:8080", "", "[::1]:11434"},
        UrlCase{"bracket_and_word", "[::1]x", "", "[::1]:11434"},
        UrlCase{"no_v6", "[1:2]", "", "not a host"}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(ParseNodeUrl, ReadsBackWhatItPrints) {
  EXPECT_TRUE(rc::check([] {
    const auto label = rc::gen::nonEmpty(rc::gen::container<std::string>(
        rc::gen::oneOf(rc::gen::inRange('a', static_cast<char>('z' + 1)),
                       rc::gen::inRange('0', static_cast<char>('9' + 1)))));
    const auto host = *rc::gen::scale(0.5, label);
    const auto port = *rc::gen::inRange(1, 65536);
    const auto prefix = *rc::gen::element(std::string(""), std::string("/a"), std::string("/a/b"));
    const auto first = parse_node_url(fmt::format("{}:{}{}", host, port, prefix));
    RC_ASSERT(first.has_value());
    const auto second = parse_node_url(first->url);
    RC_ASSERT(second.has_value());
    RC_ASSERT(*first == *second);
  }));
}

TEST(ParseNodeUrl, EndsWellOnAnyText) {
  EXPECT_TRUE(rc::check([](const std::string& text) {
    const auto node = parse_node_url(text);
    if (node) {
      RC_ASSERT(node->port > 0);
      RC_ASSERT(parse_node_url(node->url)->url == node->url);
    }
  }));
}

TEST(ParseNodeFlag, ReadsNamePriorityAndSlots) {
  const auto node = parse_node_flag("http://gpu:8080,name=big one,priority=2,slots=4");
  ASSERT_TRUE(node.has_value()) << node.error().detail;
  EXPECT_EQ(node->url, "http://gpu:8080");
  EXPECT_EQ(node->name, "big one");
  EXPECT_EQ(node->priority, 2u);
  EXPECT_EQ(node->slots, 4u);
  EXPECT_EQ(node->physical_host, "");
  EXPECT_EQ(node->origin, "flag");
}

TEST(ParseNodeFlag, TakesTheWordOnMachineAndDevice) {
  const auto node = parse_node_flag("10.0.0.5:11435,host=big box,device=GPU-1f2e");
  ASSERT_TRUE(node.has_value()) << node.error().detail;
  EXPECT_EQ(node->host, "10.0.0.5");
  EXPECT_EQ(node->physical_host, "big box");
  EXPECT_EQ(node->device, "GPU-1f2e");
}

TEST(ParseNodeFlag, TakesHowTheMachineIsWoken) {
  const auto node = parse_node_flag("gpu,wake=true,mac=02-00-5E-10-00-0F");
  ASSERT_TRUE(node.has_value()) << node.error().detail;
  EXPECT_EQ(node->mac, "02:00:5e:10:00:0f");
  EXPECT_TRUE(node->wake);
  EXPECT_FALSE(parse_node_flag("gpu,mac=02:00:5e:10:00:0f")->wake);
}

TEST(ParseNodeFlag, SlotsZeroMeansLearnt) {
  const auto node = parse_node_flag("gpu,slots=0");
  ASSERT_TRUE(node.has_value());
  EXPECT_EQ(node->slots, std::nullopt);
}

struct FlagErrorCase {
  const char* name;
  const char* text;
  const char* says;
};
class ParseNodeFlagErrors : public testing::TestWithParam<FlagErrorCase> {};
TEST_P(ParseNodeFlagErrors, NamesTheFieldAndTheMend) {
  const auto node = parse_node_flag(GetParam().text);
  ASSERT_FALSE(node.has_value());
  EXPECT_NE(node.error().detail.find(GetParam().says), std::string::npos) << node.error().detail;
}
INSTANTIATE_TEST_SUITE_P(
    Table, ParseNodeFlagErrors,
    testing::Values(FlagErrorCase{"priority_word", "gpu,priority=high", "priority must be a whole"},
                    FlagErrorCase{"priority_negative", "gpu,priority=-1", "priority must be"},
                    FlagErrorCase{"slots_word", "gpu,slots=", "slots must be"},
                    FlagErrorCase{"empty_host", "gpu,host= ", "host is empty"},
                    FlagErrorCase{"empty_device", "gpu,device=", "device is empty"},
                    FlagErrorCase{"wake_without_mac", "gpu,wake=true", "wake: needs the address"},
                    FlagErrorCase{"wake_word", "gpu,wake=on", "wake must be true or false"},
                    FlagErrorCase{"mac", "gpu,mac=02:00", "mac: \"02:00\" is no MAC address"},
                    FlagErrorCase{"unknown", "gpu,weight=3", "unknown option \"weight\""},
                    FlagErrorCase{"comma_at_the_end", "gpu,", "unknown option"},
                    FlagErrorCase{"empty_name", "gpu,name=", "name is empty"},
                    FlagErrorCase{"line_break", "gpu,name=a\nb", "control character"},
                    FlagErrorCase{"no_utf8", "gpu,name=a\xff", "not valid UTF-8"},
                    FlagErrorCase{"url", ":1,name=a", "not a host"}),
    [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace sollol::discovery
