#include "api/progress.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <boost/json.hpp>

#include <map>

namespace sollol::api {
namespace {

std::string layer(std::string_view digest, std::uint64_t total, std::uint64_t completed) {
  return "{\"status\":\"pulling " + std::string(digest) + "\",\"digest\":\"" + std::string(digest) +
         "\",\"total\":" + std::to_string(total) + ",\"completed\":" + std::to_string(completed) +
         "}";
}

TEST(Progress, OneNodesStreamKeepsItsShape) {
  ProgressMerger merger({"a"});
  EXPECT_EQ(merger.feed(0, R"({"status":"pulling manifest"})"),
            "{\"status\":\"pulling manifest\",\"sollol\":{\"node\":\"a\"}}\n");
  EXPECT_EQ(merger.feed(0, layer("d", 100, 40)),
            "{\"status\":\"pulling "
            "d\",\"digest\":\"d\",\"total\":100,\"completed\":40,\"sollol\":{\"node\":\"a\"}}\n");
  EXPECT_EQ(merger.feed(0, R"({"status":"success"})"), "");
  EXPECT_EQ(merger.finish(),
            "{\"status\":\"success\",\"sollol\":{\"nodes\":{\"a\":\"success\"}}}\n");
  EXPECT_EQ(merger.status_for_unstreamed(), 200);
}

TEST(Progress, SumsALayerOverItsNodes) {
  ProgressMerger merger({"a", "b"});
  merger.feed(0, layer("d", 100, 40));
  EXPECT_EQ(merger.feed(1, layer("d", 100, 25)),
            "{\"status\":\"pulling "
            "d\",\"digest\":\"d\",\"total\":200,\"completed\":65,\"sollol\":{\"node\":\"b\"}}\n");
}

TEST(Progress, SaysAStepOnce) {
  ProgressMerger merger({"a", "b"});
  EXPECT_NE(merger.feed(0, R"({"status":"pulling manifest"})"), "");
  EXPECT_EQ(merger.feed(1, R"({"status":"pulling manifest"})"), "");
}

TEST(Progress, SaysNeitherSuccessNorErrorBeforeTheEnd) {
  ProgressMerger merger({"a", "b", "c"});
  for (const auto& text :
       {merger.feed(0, R"({"status":"success"})"), merger.feed(1, R"({"error":"disk full"})")}) {
    const auto value = boost::json::parse(text);
    EXPECT_NE(value.at("status").as_string(), "success");
    EXPECT_FALSE(value.as_object().contains("error"));
  }
  merger.feed(2, R"({"status":"success"})");
  EXPECT_EQ(merger.finish(),
            "{\"error\":\"pull failed on 1 of 3 nodes: b: disk "
            "full\",\"sollol\":{\"nodes\":{\"a\":\"success\","
            "\"b\":\"disk full\",\"c\":\"success\"}}}\n");
  EXPECT_EQ(merger.status_for_unstreamed(), 500);
}

TEST(Progress, WhatAllNodesSayIsSaidInTheirWords) {
  ProgressMerger merger({"a", "b"});
  merger.feed(0, R"({"error":"pull model manifest: file does not exist"})");
  merger.feed(1, R"({"error":"pull model manifest: file does not exist"})");
  EXPECT_TRUE(
      merger.finish().starts_with(R"({"error":"pull model manifest: file does not exist",)"));
}

TEST(Progress, ANodeThatStopsWithoutResultHasFailed) {
  ProgressMerger merger({"a", "b"});
  merger.feed(0, R"({"status":"success"})");
  merger.feed(1, R"({"status":"verifying sha256 digest"})");
  EXPECT_TRUE(merger.finish().starts_with(
      R"({"error":"pull failed on 1 of 2 nodes: b: ended without a result")"));
}

TEST(Progress, TheFirstOutcomeStands) {
  ProgressMerger merger({"a"});
  merger.feed(0, R"({"status":"success"})");
  merger.node_failed(0, "late");
  EXPECT_EQ(merger.feed(0, layer("d", 1, 1)), "");
  EXPECT_TRUE(merger.finish().starts_with(R"({"status":"success")"));
}

TEST(Progress, DropsWhatIsNoProgress) {
  ProgressMerger merger({"a"});
  for (const auto* line : {"", "garbage", "[]", "{}", "{\"status\":7}", "{\"status\":\"x"})
    EXPECT_EQ(merger.feed(0, line), "") << line;
}

TEST(Progress, ADeleteIsDoneWhenEveryHolderHasDoneIt) {
  ProgressMerger merger({"a", "b"}, Operation::remove);
  merger.node_succeeded(0);
  merger.node_failed(1, "model 'x' not found", 404);
  EXPECT_EQ(merger.status_for_unstreamed(), 200);
  EXPECT_EQ(merger.body_for_unstreamed(), "");
}

TEST(Progress, ADeleteOfWhatNoNodeHasIsNotFound) {
  ProgressMerger merger({"a", "b"}, Operation::remove);
  merger.node_failed(0, "model 'x' not found", 404);
  merger.node_failed(1, "model 'x' not found", 404);
  EXPECT_EQ(merger.status_for_unstreamed(), 404);
  EXPECT_TRUE(merger.body_for_unstreamed().starts_with(R"({"error":"model 'x' not found",)"));
}

TEST(Progress, APartialDeleteSaysWhatFailedWhere) {
  ProgressMerger merger({"a", "b", "c"}, Operation::remove);
  merger.node_succeeded(0);
  merger.node_failed(1, "model 'x' not found", 404);
  merger.node_failed(2, "connection refused", 502);
  EXPECT_EQ(merger.status_for_unstreamed(), 502);
  EXPECT_TRUE(merger.body_for_unstreamed().starts_with(
      R"({"error":"delete failed on 1 of 3 nodes: c: connection refused")"));
}

TEST(Progress, AnUnstreamedPullAnswersItsLastRecord) {
  ProgressMerger merger({"a"});
  merger.feed(0, R"({"status":"success"})");
  EXPECT_EQ(merger.body_for_unstreamed(),
            R"({"status":"success","sollol":{"nodes":{"a":"success"}}})");
}

TEST(Progress, WithoutNodesItFails) {
  ProgressMerger merger({});
  EXPECT_EQ(merger.status_for_unstreamed(), 503);
  EXPECT_TRUE(merger.finish().starts_with(R"({"error":)"));
}

RC_GTEST_PROP(ProgressProperty, EveryLayerIsMonotone, ()) {
  ProgressMerger merger({"a", "b", "c"});
  std::map<std::string, std::pair<std::int64_t, std::int64_t>> seen;
  const auto steps = *rc::gen::container<std::vector<std::tuple<int, int, int, int>>>(
      rc::gen::tuple(rc::gen::inRange(0, 3), rc::gen::inRange(0, 3), rc::gen::inRange(0, 100),
                     rc::gen::inRange(0, 100)));
  for (const auto& [node, digest, total, completed] : steps) {
    const auto text =
        merger.feed(static_cast<std::size_t>(node),
                    layer("d" + std::to_string(digest), static_cast<std::uint64_t>(total),
                          static_cast<std::uint64_t>(completed)));
    const auto line = boost::json::parse(text).as_object();
    auto& [seen_total, seen_completed] = seen[std::string(line.at("digest").as_string())];
    const auto field = [&line](const char* key) {
      return line.contains(key) ? line.at(key).as_int64() : 0;
    };
    RC_ASSERT(field("total") >= seen_total);
    RC_ASSERT(field("completed") >= seen_completed);
    seen_total = field("total");
    seen_completed = field("completed");
  }
}

}  // namespace
}  // namespace sollol::api
