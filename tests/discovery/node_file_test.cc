#include "discovery/node_file.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "discovery/files.h"
#include "temporary_folder.h"

namespace sollol::discovery {
namespace {

constexpr auto established = R"({
  // the two of the lab
  "version": 1.50,
  "nodes": [
    {
      "url": "http://10.0.0.5:11434",
      "name": "GPU \u00e9", // in the corner
      "priority": 1,
      "tags": {"b": 1, "a": [2.0, null]}
    },
    {"url": "10.0.0.6", "added_by": "hand"}
  ],
  "last": true
}
)";

NodeSpec node(std::string_view flag) { return parse_node_flag(flag).value(); }

TEST(NodeFile, ReadsTheEstablishedForm) {
  const auto file = NodeFile::parse(established, "f.json");
  ASSERT_TRUE(file.has_value()) << file.error().detail;
  ASSERT_EQ(file->nodes().size(), 2u);
  EXPECT_EQ(file->nodes()[0].url, "http://10.0.0.5:11434");
  EXPECT_EQ(file->nodes()[0].name, "GPU é");
  EXPECT_EQ(file->nodes()[0].priority, 1u);
  EXPECT_EQ(file->nodes()[0].origin, "node file f.json");
  EXPECT_EQ(file->nodes()[1].name, "10.0.0.6");
  EXPECT_TRUE(file->warnings().empty());
}

TEST(NodeFile, SavesWhatItLoadedByteForByte) {
  const TemporaryFolder folder;
  ASSERT_TRUE(write_file_atomically(folder / "n.json", established).has_value());
  const auto file = NodeFile::load(folder / "n.json");
  ASSERT_TRUE(file.has_value());
  ASSERT_TRUE(file->save().has_value());
  EXPECT_EQ(read_file(folder / "n.json").value(), established);
}

TEST(NodeFile, WhatAScanFoundIsMarkedAndNeverTouchesWhatAPersonWrote) {
  auto file = NodeFile::parse(established, "f.json").value();
  EXPECT_FALSE(file.add_found(node("http://10.0.0.5:11434")));
  EXPECT_FALSE(file.remove_found(node("http://10.0.0.5:11434")));
  EXPECT_EQ(file.text(), established);

  ASSERT_TRUE(file.add_found(node("http://10.0.0.9:11434")));
  const auto added = boost::json::parse(file.text(), {}, {.allow_comments = true});
  EXPECT_EQ(added.at("nodes").at(2).at("origin"), "discovered");
  EXPECT_FALSE(file.add_found(node("http://10.0.0.9:11434"))) << "once is enough";
  EXPECT_EQ(file.nodes().size(), 3u);

  ASSERT_TRUE(file.remove_found(node("http://10.0.0.9:11434")));
  EXPECT_EQ(boost::json::parse(file.text(), {}, {.allow_comments = true}),
            boost::json::parse(established, {}, {.allow_comments = true}));
}

TEST(NodeFile, ANodeThatSomebodyNamedIsAddedWithoutAMark) {
  auto file = NodeFile::empty("f.json");
  ASSERT_TRUE(file.add(node("http://10.0.0.9:11434,name=nine,host=rack")));
  EXPECT_FALSE(file.text().contains("origin"));
  EXPECT_FALSE(file.remove_found(node("http://10.0.0.9:11434")));
  ASSERT_EQ(file.nodes().size(), 1u);
  EXPECT_EQ(file.nodes()[0].physical_host, "rack");
}

TEST(NodeFile, TellsAMissingFileApart) {
  const TemporaryFolder folder;
  EXPECT_EQ(NodeFile::load(folder / "none.json").error().kind, ErrorKind::not_found);
}

TEST(NodeFile, ReadsAndWritesTheMachineAndTheDevice) {
  auto file = NodeFile::parse(R"({"nodes": [
    {"url": "10.0.0.5", "host": "box", "device": 0}, {"url": "10.0.0.6", "host": null}]})",
                              "f.json")
                  .value();
  EXPECT_TRUE(file.warnings().empty());
  EXPECT_EQ(file.nodes()[0].physical_host, "box");
  EXPECT_EQ(file.nodes()[0].device, "0");
  EXPECT_EQ(file.nodes()[1].physical_host, "");
  file.put(node("10.0.0.6,host=box,device=GPU-7"));
  file.put(node("10.0.0.7,host=other,device=GPU-8"));
  EXPECT_EQ(file.nodes()[1].physical_host, "box");
  EXPECT_EQ(file.nodes()[1].device, "GPU-7");
  EXPECT_EQ(file.nodes()[2].physical_host, "other");
  EXPECT_EQ(file.nodes()[2].device, "GPU-8");
}

TEST(NodeFile, ReadsAndWritesHowAMachineIsWoken) {
  auto file = NodeFile::parse(R"({"nodes": [
    {"url": "10.0.0.5", "mac": "02-00-5E-10-00-0F", "wake": true},
    {"url": "10.0.0.6", "mac": "02:00:5e:10:00:10", "wake": false}]})",
                              "f.json")
                  .value();
  EXPECT_TRUE(file.warnings().empty());
  EXPECT_EQ(file.nodes()[0].mac, "02:00:5e:10:00:0f");
  EXPECT_TRUE(file.nodes()[0].wake);
  EXPECT_FALSE(file.nodes()[1].wake);
  file.put(node("10.0.0.6,mac=02:00:5e:10:00:11,wake=true"));
  file.put(node("10.0.0.7,mac=02:00:5e:10:00:12,wake=true"));
  EXPECT_EQ(file.nodes()[1].mac, "02:00:5e:10:00:11");
  EXPECT_TRUE(file.nodes()[1].wake);
  EXPECT_EQ(file.nodes()[2].mac, "02:00:5e:10:00:12");
  EXPECT_TRUE(file.nodes()[2].wake);
}

TEST(NodeFile, SaysWhatIsWrongWithHowAMachineIsWoken) {
  const auto file = NodeFile::parse(R"({"nodes": [
    {"url": "a", "wake": true},
    {"url": "b", "mac": "02:00", "wake": true},
    {"url": "c", "mac": "02:00:5e:10:00:0f", "wake": "yes"}, {"url": "d"}]})",
                                    "f")
                        .value();
  ASSERT_EQ(file.nodes().size(), 1u);
  ASSERT_EQ(file.warnings().size(), 3u);
  EXPECT_TRUE(file.warnings()[0].contains("line 2: nodes[0]: wake: needs the address"))
      << file.warnings()[0];
  EXPECT_TRUE(file.warnings()[1].contains("line 3: nodes[1].mac: \"02:00\" is no MAC address"))
      << file.warnings()[1];
  EXPECT_TRUE(
      file.warnings()[2].contains("line 4: nodes[2].wake: expected true or false, got text"))
      << file.warnings()[2];
}

TEST(NodeFile, PutWithoutAMachineKeepsTheOneThatWasWritten) {
  auto file =
      NodeFile::parse(R"({"nodes": [{"url": "10.0.0.5", "host": "box", "device": "GPU-1"}]})", "f")
          .value();
  file.put(node("10.0.0.5,name=five"));
  EXPECT_EQ(file.nodes()[0].name, "five");
  EXPECT_EQ(file.nodes()[0].physical_host, "box");
  EXPECT_EQ(file.nodes()[0].device, "GPU-1");
}

TEST(NodeFile, SaysWhichWordCannotBeUsed) {
  const auto file = NodeFile::parse(
                        "{\"nodes\": [\n{\"url\": \"a\", \"host\": [1]},\n{\"url\": \"b\", "
                        "\"device\": \"x,y\"}, {\"url\": \"c\"}]}",
                        "f")
                        .value();
  ASSERT_EQ(file.nodes().size(), 1u);
  ASSERT_EQ(file.warnings().size(), 2u);
  EXPECT_TRUE(file.warnings()[0].contains("line 2: nodes[0].host: ")) << file.warnings()[0];
  EXPECT_TRUE(file.warnings()[1].contains("line 3: nodes[1].device: device holds a comma"))
      << file.warnings()[1];
}

TEST(NodeFile, PutChangesOnlyTheFieldsOfTheNode) {
  auto file = NodeFile::parse(established, "f.json").value();
  file.put(node("10.0.0.6,name=six,priority=7,slots=2"));
  std::string want = established;
  const std::string old = R"("added_by": "hand")";
  want.insert(want.find(old) + old.size(), R"(, "name": "six", "priority": 7, "slots": 2)");
  EXPECT_EQ(file.text(), want);
  EXPECT_EQ(file.nodes()[1].slots, 2u);
}

TEST(NodeFile, PutAddsANewNodeAtTheEnd) {
  auto file = NodeFile::parse(established, "f.json").value();
  file.put(node("new:1"));
  EXPECT_EQ(file.nodes().back().url, "http://new:1");
  auto empty = NodeFile::empty("f.json");
  empty.put(node("a"));
  empty.put(node("b,priority=2"));
  EXPECT_EQ(empty.text(), R"({
  "nodes": [
    {
      "url": "http://a:11434",
      "name": "a",
      "priority": 0
    },
    {
      "url": "http://b:11434",
      "name": "b",
      "priority": 2
    }
  ]
}
)");
}

TEST(NodeFile, RemoveTakesTheEntryAndItsComma) {
  auto file = NodeFile::parse(R"({"nodes": [
    {"url": "a"}, // first, with a comma
    // about b
    {"url": "b"},
    {"url": "c"} // last
  ]})",
                              "f.json")
                  .value();
  EXPECT_TRUE(file.remove(node("b")));
  EXPECT_EQ(file.text(), R"({"nodes": [
    {"url": "a"}, // first, with a comma
    // about b
    {"url": "c"} // last
  ]})");
  EXPECT_TRUE(file.remove(node("c")));
  EXPECT_TRUE(file.remove(node("a")));
  EXPECT_FALSE(file.remove(node("a")));
  EXPECT_TRUE(file.nodes().empty());
}

struct WarningCase {
  const char* name;
  const char* entry;
  const char* says;
};
class NodeFileWarnings : public testing::TestWithParam<WarningCase> {};
TEST_P(NodeFileWarnings, NameLineAndFieldAndKeepTheGoodNodes) {
  const auto text = fmt::format(
      "{{\"nodes\": [\n{{\"url\": \"good\"}},\n{},\n{{\"url\": \"fine\"}}]}}", GetParam().entry);
  const auto file = NodeFile::parse(text, "f.json");
  ASSERT_TRUE(file.has_value()) << file.error().detail;
  EXPECT_EQ(file->nodes().size(), 2u);
  ASSERT_EQ(file->warnings().size(), 1u);
  EXPECT_NE(file->warnings()[0].find(GetParam().says), std::string::npos) << file->warnings()[0];
}
INSTANTIATE_TEST_SUITE_P(
    Table, NodeFileWarnings,
    testing::Values(
        WarningCase{"no_object", "7", "f.json, line 3: nodes[1]: expected an object"},
        WarningCase{"no_url", R"({"name": "x"})", "line 3: nodes[1].url: missing"},
        WarningCase{"url_type", R"({"url": 7})",
                    "nodes[1].url: expected text in quotes, got a number"},
        WarningCase{"url_port", R"({"url": "a:0"})", "nodes[1].url: node \"a:0\": port"},
        WarningCase{"priority_text", "{\"url\": \"a\",\n\"priority\": \"1\"}",
                    "line 4: nodes[1].priority: expected a whole number from 0, got text"},
        WarningCase{"priority_negative", R"({"url": "a", "priority": -1})", "got -1"},
        WarningCase{"priority_fraction", R"({"url": "a", "priority": 1.5})", "nodes[1].priority"},
        WarningCase{"name_type", R"({"url": "a", "name": []})",
                    "nodes[1].name: expected text in quotes, got a list"}),
    [](const auto& row) { return std::string(row.param.name); });

struct ErrorCase {
  const char* name;
  const char* text;
  const char* says;
};
class NodeFileErrors : public testing::TestWithParam<ErrorCase> {};
TEST_P(NodeFileErrors, NameTheLine) {
  const auto file = NodeFile::parse(GetParam().text, "f.json");
  ASSERT_FALSE(file.has_value());
  EXPECT_NE(file.error().detail.find(GetParam().says), std::string::npos) << file.error().detail;
}
INSTANTIATE_TEST_SUITE_P(Table, NodeFileErrors,
                         testing::Values(ErrorCase{"empty", "", "line 1"},
                                         ErrorCase{"cut_off", "{\"nodes\":\n[", "line 2"},
                                         ErrorCase{"no_comma", "{\"a\": 1\n\n\"b\": 2}", "line 3"},
                                         ErrorCase{"two_values", "{\"nodes\": []}\n{}", "line 2"},
                                         ErrorCase{"no_list", "{\n\"nodes\": {}}",
                                                   "line 2: no list of nodes"},
                                         ErrorCase{"no_nodes", "{}", "no list of nodes"},
                                         ErrorCase{"array", "[]", "no list of nodes"}),
                         [](const auto& row) { return std::string(row.param.name); });

/// Any JSON value, at most `depth` deep.
rc::Gen<boost::json::value> any_json(int depth) {
  namespace json = boost::json;
  const auto plain =
      rc::gen::oneOf(rc::gen::map(rc::gen::arbitrary<int>(), [](int i) { return json::value(i); }),
                     rc::gen::map(rc::gen::string<std::string>(),
                                  [](const std::string&) { return json::value("t // \"\\ ]}"); }),
                     rc::gen::just(json::value(nullptr)), rc::gen::just(json::value(true)),
                     rc::gen::just(json::value(0.5)));
  if (depth == 0) return plain;
  const auto list = rc::gen::map(
      rc::gen::scale(0.1, rc::gen::container<std::vector<json::value>>(any_json(depth - 1))),
      [](const std::vector<json::value>& items) {
        return json::value(json::array(items.begin(), items.end()));
      });
  const auto object = rc::gen::map(list, [](const json::value& items) {
    json::object result;
    for (std::size_t i = 0; i < items.get_array().size(); ++i)
      result[fmt::format("k\"{}", i)] = items.get_array()[i];
    return json::value(result);
  });
  return rc::gen::oneOf(plain, list, object);
}

TEST(NodeFile, KeepsUnknownFieldsAndOrderThroughAnyChanges) {
  namespace json = boost::json;
  EXPECT_TRUE(rc::check([] {
    json::object root;
    root["before"] = *any_json(2);
    json::array entries;
    const auto count = *rc::gen::inRange(0, 5);
    for (int i = 0; i < count; ++i) {
      entries.push_back(json::object{
          {"x", *any_json(2)}, {"url", fmt::format("http://n{}:1", i)}, {"y", *any_json(1)}});
    }
    root["nodes"] = entries;
    root["after"] = *any_json(2);
    auto file = NodeFile::parse(json::serialize(root), "f").value();
    RC_ASSERT(file.text() == json::serialize(root));

    const auto at = *rc::gen::inRange(0, 6);  // some that are there, some that are not
    const auto spec = node(fmt::format("n{}:1,name=new,priority=3", at));
    file.put(spec);
    file.put(spec);
    RC_ASSERT(file.nodes().size() ==
              static_cast<std::size_t>(std::max(count, at < count ? count : count + 1)));
    RC_ASSERT(file.remove(spec));

    if (at < count) entries.erase(entries.begin() + at);
    root["nodes"] = entries;
    RC_ASSERT(json::serialize(json::parse(file.text())) == json::serialize(root));
  }));
}

TEST(NodeFile, RemovesTheLastEntryThoughACommaAndACommentFollowIt) {
  auto one =
      NodeFile::parse("{\"nodes\": [\n  {\"url\": \"http://a:1\"}, // spare\n]}\n", "f").value();
  ASSERT_EQ(one.nodes().size(), 1u);
  EXPECT_TRUE(one.remove(node("a:1")));
  EXPECT_EQ(one.nodes().size(), 0u);
  EXPECT_TRUE(one.text().contains("// spare"));

  auto two =
      NodeFile::parse(
          "{\"nodes\": [{\"url\": \"http://a:1\"},\n {\"url\": \"http://b:1\"}, /* x */ ]}", "f")
          .value();
  EXPECT_TRUE(two.remove(node("b:1")));
  ASSERT_EQ(two.nodes().size(), 1u);
  EXPECT_TRUE(two.remove(node("a:1")));
  EXPECT_TRUE(two.nodes().empty());
}

TEST(NodeFile, EndsWellOnAnyDamage) {
  EXPECT_TRUE(rc::check([] {
    std::string text = established;
    for (int i = *rc::gen::inRange(1, 4); i > 0; --i) {
      const auto at = *rc::gen::inRange<std::size_t>(0, text.size());
      const auto put =
          *rc::gen::element('"', '{', '}', '[', ']', ',', '/', '*', '\\', '\n', ' ', '\0');
      if (*rc::gen::arbitrary<bool>())
        text[at] = put;
      else
        text.erase(at, 1);
    }
    auto file = NodeFile::parse(text, "f");
    if (!file) return;
    RC_ASSERT(file->text() == text);
    const auto before = file->nodes().size();
    file->put(node("fresh"));
    RC_ASSERT(file->nodes().size() == before + 1);
    RC_ASSERT(file->remove(node("fresh")));
    RC_ASSERT(file->nodes().size() == before);
  }));
}

}  // namespace
}  // namespace sollol::discovery
