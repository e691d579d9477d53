// Programs tell that they use the gateway.
#include <gtest/gtest.h>

#include "gateway/applications.h"
#include "harness.h"

namespace sollol::test {
namespace {

namespace json = boost::json;

TEST(Applications, AreListedNewestFirstEachOnce) {
  TestFleet fleet(equal_nodes(1, {chat_model()}));
  for (const char* body : {R"({"name":"one","host":"desk","pid":1})", R"({"name":"two"})",
                           R"({"name":"one","host":"desk","pid":1})"})
    ASSERT_EQ(fleet.ask("POST", "/sollol/v1/applications", body).status, 201);
  const json::value told = json::parse(fleet.ask("GET", "/sollol/v1/applications").body);
  const json::array& all = told.at("applications").as_array();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].at("name"), "one");
  EXPECT_EQ(all[0].at("pid"), 1);
  EXPECT_EQ(all[0].at("address"), "127.0.0.1");
  EXPECT_EQ(all[1].at("name"), "two");
}

TEST(Applications, TheOldestMakesRoom) {
  gateway::Applications applications;
  for (std::size_t i = 0; i <= gateway::Applications::kept_max; ++i)
    applications.note({.name = std::to_string(i)});
  const auto all = applications.newest_first();
  ASSERT_EQ(all.size(), gateway::Applications::kept_max);
  EXPECT_EQ(all.back().name, "1");
}

TEST(Applications, WhatCannotBeOneIsNamed) {
  const struct {
    const char* body;
    const char* word;
  } rows[] = {{"[]", "JSON"},
              {"{}", "name"},
              {R"({"name":1})", "name"},
              {R"({"name":"a","host":[]})", "host"},
              {R"({"name":"a","pid":"x"})", "pid"}};
  for (const auto& row : rows) {
    const auto parsed = gateway::parse_application(row.body);
    ASSERT_FALSE(parsed.has_value()) << row.body;
    EXPECT_TRUE(parsed.error().detail.contains(row.word)) << parsed.error().detail;
  }
}

}  // namespace
}  // namespace sollol::test
