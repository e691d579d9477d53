#include "world/workload.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "world/report.h"

namespace sollol::world {
namespace {

const Fleet fleet{.models = {{.name = "small"}, {.name = "large"}}};

TEST(Requests, AreEqualForEqualSeeds) {
  const Mix mix{.requests = 100};
  const auto one = draw_requests(fleet, mix, 1), again = draw_requests(fleet, mix, 1),
             other = draw_requests(fleet, mix, 2);
  const auto same = [](const Request& a, const Request& b) {
    return a.prompt_tokens == b.prompt_tokens && a.model == b.model && a.client == b.client;
  };
  EXPECT_TRUE(std::ranges::equal(one, again, same));
  EXPECT_FALSE(std::ranges::equal(one, other, same));
}

TEST(Requests, OfAConversationHoldWhatWasSaid) {
  const auto requests = draw_requests(fleet, {.requests = 500, .clients = 5, .turns = 6}, 1);
  std::map<std::uint32_t, Request> last;
  std::size_t continued = 0;
  for (const Request& request : requests) {
    ASSERT_NE(request.session, 0u);
    const auto before = last.find(request.session);
    const std::uint32_t said =
        before == last.end() ? 0 : before->second.prompt_tokens + before->second.output_tokens;
    EXPECT_EQ(request.said_before, said);
    EXPECT_GT(request.prompt_tokens, said);
    if (before != last.end()) EXPECT_EQ(before->second.model, request.model);
    continued += said > 0;
    last[request.session] = request;
  }
  EXPECT_GT(continued, 250u);
}

class ArrivalRate : public testing::TestWithParam<Arrivals> {};

TEST_P(ArrivalRate, IsWhatIsAskedForOnAverage) {
  auto requests = draw_requests(fleet, {.requests = 20'000}, 1);
  draw_times(requests, GetParam(), 5, 2);
  EXPECT_TRUE(std::ranges::is_sorted(requests, {}, &Request::at));
  EXPECT_NEAR(20'000 / to_seconds(requests.back().at), 5, 0.25);
}
INSTANTIATE_TEST_SUITE_P(Kinds, ArrivalRate, testing::Values(Arrivals::poisson, Arrivals::bursty));

TEST(Trace, IsReadByTheNamesOfItsColumns) {
  const auto workload = read_trace(
      "model,at_s,output_tokens,prompt_tokens,client,urgency,session\n"
      "large,0.5,20,10,ann,batch,s\n"
      "small,1,0,30,bob,,\r\n"
      "large,2,5,40,ann,interactive,s\n",
      "t.csv", fleet);
  ASSERT_TRUE(workload) << workload.error().detail;
  ASSERT_EQ(workload->requests.size(), 3u);
  const Request& first = workload->requests[0];
  EXPECT_EQ(first.model, 1u);
  EXPECT_EQ(first.at, from_seconds(0.5));
  EXPECT_EQ(first.prompt_tokens, 10u);
  EXPECT_EQ(first.output_tokens, 20u);
  EXPECT_EQ(first.urgency, cluster::Urgency::batch);
  EXPECT_NE(workload->requests[1].client, first.client);
  EXPECT_EQ(workload->requests[1].session, 0u);
  EXPECT_EQ(workload->requests[2].client, first.client);
  EXPECT_EQ(workload->requests[2].session, first.session);
  EXPECT_EQ(workload->requests[2].said_before, 30u);
}

TEST(Trace, TellsLimitsAndWhatStreams) {
  const auto workload = read_trace(
      "model,at_s,output_tokens,prompt_tokens,num_predict,told,streamed\n"
      "large,0,20,10,,1,\n"
      "large,1,20,10,50,0,0\n"
      "large,2,20,10,,,1\n"
      "large,3,0,10,,,1\n",
      "t.csv", fleet);
  ASSERT_TRUE(workload) << workload.error().detail;
  const std::vector<Request>& requests = workload->requests;
  EXPECT_EQ(requests[0].num_predict, 20u);
  EXPECT_TRUE(requests[0].streamed);
  EXPECT_EQ(requests[1].num_predict, 50u);
  EXPECT_FALSE(requests[1].streamed);
  EXPECT_EQ(requests[2].num_predict, 0u);
  EXPECT_TRUE(requests[2].streamed);
  EXPECT_FALSE(requests[3].streamed) << "an embedding";
}

struct BadTrace {
  const char* text;
  const char* says;
};
class WrongTrace : public testing::TestWithParam<BadTrace> {};

TEST_P(WrongTrace, NamesLineAndField) {
  const auto workload = read_trace(GetParam().text, "t.csv", fleet);
  ASSERT_FALSE(workload);
  EXPECT_NE(workload.error().detail.find(GetParam().says), std::string::npos)
      << workload.error().detail;
}
INSTANTIATE_TEST_SUITE_P(
    Table, WrongTrace,
    testing::Values(BadTrace{"", "the first line names the columns"},
                    BadTrace{"at_s,model,prompt_tokens,output_tokens\n1,tiny,1,1\n",
                             "t.csv:2: model: no node has 'tiny'"},
                    BadTrace{"at_s,model,prompt_tokens,output_tokens\n1,small,x,1\n",
                             "t.csv:2: prompt_tokens: 'x'"},
                    BadTrace{"at_s,model,prompt_tokens\n1,small,1\n", "t.csv:2: output_tokens: ''"},
                    BadTrace{"at_s,model,prompt_tokens,output_tokens\n-1,small,1,1\n",
                             "at_s: '-1'"},
                    BadTrace{"at_s,model,prompt_tokens,output_tokens\n2,small,1,1\n1,small,1,1\n",
                             "t.csv:3: at_s"},
                    BadTrace{"at_s,model,prompt_tokens,output_tokens,urgency\n1,small,1,1,now\n",
                             "urgency: 'now'"}));

TEST(Report, TakesQuantilesAndFairness) {
  std::vector<float> samples;
  for (int i = 100; i > 0; --i) samples.push_back(static_cast<float>(i));
  const Quantiles q = quantiles(samples);
  EXPECT_DOUBLE_EQ(q.mean, 50.5);
  EXPECT_DOUBLE_EQ(q.p50, 51);
  EXPECT_DOUBLE_EQ(q.p99, 100);
  EXPECT_DOUBLE_EQ(jain({2, 2, 2}), 1);
  EXPECT_DOUBLE_EQ(jain({1, 0, 0, 0}), 0.25);
}

}  // namespace
}  // namespace sollol::world
