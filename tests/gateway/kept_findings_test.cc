#include "gateway/kept_findings.h"

#include <gtest/gtest.h>

namespace sollol::gateway {
namespace {

using locality::Relation;

constexpr WallTime now{std::chrono::hours(500'000)};

KeptFinding found(Relation relation, MeasuredBy source, WallTime when = now) {
  return {.a = {.url = "http://b", .addresses = {"10.0.0.2"}, .version = "0.33.0"},
          .b = {.url = "http://a", .addresses = {"10.0.0.1", "10.0.0.7"}, .version = "0.33.0"},
          .relation = relation,
          .confidence = 0.999,
          .source = source,
          .when = when};
}

TEST(KeptFindings, HoldOneOfAPairAndTheNewerOneCounts) {
  KeptFindings kept;
  EXPECT_TRUE(kept.note(found(Relation::independent, MeasuredBy::traffic)));
  EXPECT_TRUE(kept.note(found(Relation::same_host, MeasuredBy::request)));
  ASSERT_EQ(kept.all().size(), 1u);
  EXPECT_EQ(kept.all()[0].relation, Relation::same_host);
  EXPECT_EQ(kept.all()[0].a.url, "http://a");
}

TEST(KeptFindings, TrafficDoesNotReplaceWhatWasMeasuredOnRequest) {
  KeptFindings kept;
  kept.note(found(Relation::same_host, MeasuredBy::request));
  EXPECT_FALSE(kept.note(found(Relation::independent, MeasuredBy::traffic)));
  EXPECT_EQ(kept.all()[0].relation, Relation::same_host);
}

TEST(KeptFindings, AreBounded) {
  KeptFindings kept;
  for (std::size_t i = 0; i < KeptFindings::findings_max + 10; ++i) {
    auto each = found(Relation::same_host, MeasuredBy::request, now + std::chrono::seconds(i));
    each.b.url += std::to_string(i);
    kept.note(std::move(each));
  }
  EXPECT_EQ(kept.all().size(), KeptFindings::findings_max);
  EXPECT_EQ(std::ranges::min(kept.all(), {}, &KeptFinding::when).when,
            now + std::chrono::seconds(10));
}

struct SignCase {
  const char* name;
  NodeSign now;
  bool same;
};
class Sign : public testing::TestWithParam<SignCase> {};

TEST_P(Sign, TellsWhetherItIsTheSameNode) {
  const NodeSign then{"http://a", {"10.0.0.1", "10.0.0.7"}, "0.33.0"};
  EXPECT_EQ(same_node(then, GetParam().now), GetParam().same);
  KeptFindings kept;
  kept.note(found(Relation::same_host, MeasuredBy::request));
  kept.drop_stale(now, [](const std::string& url) -> std::optional<NodeSign> {
    if (url == "http://a") return GetParam().now;
    return std::nullopt;  // away: that alone proves nothing
  });
  EXPECT_EQ(kept.all().size(), GetParam().same ? 1u : 0u);
}

INSTANTIATE_TEST_SUITE_P(
    Table, Sign,
    testing::Values(SignCase{"as_it_was", {"http://a", {"10.0.0.7"}, "0.33.0"}, true},
                    SignCase{"not_asked_yet", {"http://a", {}, ""}, true},
                    SignCase{"another_version", {"http://a", {"10.0.0.7"}, "0.34.0"}, false},
                    SignCase{"another_address", {"http://a", {"10.0.0.9"}, "0.33.0"}, false}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(KeptFindings, AreForgottenWithAge) {
  KeptFindings kept;
  kept.note(found(Relation::same_host, MeasuredBy::request));
  const auto nobody = [](const std::string&) -> std::optional<NodeSign> { return std::nullopt; };
  kept.drop_stale(now, nobody);
  EXPECT_EQ(kept.all().size(), 1u);
  kept.drop_stale(now + std::chrono::seconds(1), nobody);
  EXPECT_TRUE(kept.all().empty());
}

}  // namespace
}  // namespace sollol::gateway
