// What was chosen, and what would be chosen now.
#include "gateway/admin_choices.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <charconv>

#include "api/errors.h"
#include "api/model_name.h"
#include "api/timestamp.h"
#include "gateway/admin_answer.h"
#include "gateway/admission.h"
#include "gateway/worker.h"
#include "routing/consider.h"

namespace sollol::gateway {

namespace json = boost::json;

namespace {

constexpr double prompt_tokens_assumed = 500;

std::string_view warmth_text(routing::Warmth warmth) {
  switch (warmth) {
    case routing::Warmth::cold:
      return "cold";
    case routing::Warmth::other_options:
      return "other_options";
    case routing::Warmth::warm:
      return "warm";
  }
  return "cold";
}

json::object considered_json(const cluster::Snapshot& snapshot, const routing::Considered& seen) {
  const cluster::Node* node = snapshot.find_node(seen.node);
  return {{"node", node == nullptr ? "removed since" : node->info.name},
          {"wait_s", seen.wait_s},
          {"load_s", seen.load_s},
          {"evict_s", seen.evict_s},
          {"crowd_s", seen.crowd_s},
          {"prefill_s", seen.prefill_s},
          {"decode_s", seen.decode_s},
          {"network_s", seen.network_s},
          {"total_s", seen.total_s()},
          {"in_flight", seen.in_flight},
          {"limit", seen.limit},
          {"priority", seen.tier},
          {"model", warmth_text(seen.warmth)},
          {"available", seen.available},
          {"measured", seen.known}};
}

json::object decision_json(const cluster::Snapshot& snapshot, const DecisionRecord& record) {
  json::array considered;
  for (const routing::Considered& seen : record.considered.all())
    considered.push_back(considered_json(snapshot, seen));
  json::object out{{"explanation", record.explanation},
                   {"time", api::format_timestamp(record.when)},
                   {"request_id", record.request_id},
                   {"model", record.model},
                   {"node", record.node},
                   {"reason", record.reason},
                   {"expected_s", record.cost_s},
                   {"candidates", record.candidates},
                   {"attempt", record.attempt},
                   {"considered", std::move(considered)}};
  if (record.answer.took_s > 0) {
    out["took_s"] = record.answer.took_s;
    out["load_s"] = record.answer.load_s;
    out["prompt_tokens"] = record.answer.prompt_tokens;
    out["output_tokens"] = record.answer.output_tokens;
  }
  return out;
}

/// A number of tokens from the query; nullopt: it is none.
std::optional<double> tokens_of(std::string_view query, std::string_view name, double otherwise) {
  const std::string_view text = api::query_value(query, name);
  if (text.empty()) return otherwise;
  std::uint32_t tokens = 0;
  const auto [end, bad] = std::from_chars(text.data(), text.data() + text.size(), tokens);
  if (bad != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return tokens;
}

Result<Work> work_of(Connection& client) {
  const std::string_view query = client.request().query();
  const std::string name = api::percent_decode(api::query_value(query, "model"));
  const auto key = api::ModelKey::from(name);
  if (!key) return std::unexpected(bad_input("model: name one, such as ?model=llama3.2"));
  Work work;
  work.view = client.worker().view();
  work.model = work.view->cluster->find_model(key->view());
  if (work.model == nullptr) {
    return std::unexpected(
        Error{ErrorKind::not_found, Origin::client, Retry::never,
              fmt::format("model '{}' is on no node; `sollol nodes` lists what they have", name)});
  }
  const auto prompt = tokens_of(query, "prompt_tokens", prompt_tokens_assumed);
  const auto answer = tokens_of(
      query, "answer_tokens",
      client.worker().shared().history.expected_length(work.model->key_hash, 0, 0).tokens);
  if (!prompt || !answer)
    return std::unexpected(bad_input("prompt_tokens, answer_tokens: write a number of tokens"));
  work.shape = {.prompt_tokens = *prompt, .expected_tokens = *answer, .may_wait = true};
  return work;
}

json::object explained(Connection& client, const Work& work) {
  Worker& worker = client.worker();
  const TimePoint now = worker.scheduler().now();
  std::vector<routing::Candidate> candidates;
  Placement::candidates_of(work, candidates, now);
  const auto policy = worker.options().policy;
  const auto choice = routing::choose(policy, candidates, work.shape, now, worker.random().bits(),
                                      Placement::last_node(work));
  const routing::Priors priors = routing::priors_of(candidates);
  json::array nodes;
  for (const routing::Candidate& candidate : candidates) {
    nodes.push_back(
        considered_json(*work.view->cluster, routing::consider(candidate, work.shape, priors)));
  }
  json::object out{{"model", work.model->name},
                   {"policy", routing::name(policy)},
                   {"prompt_tokens", work.shape.prompt_tokens},
                   {"answer_tokens", work.shape.expected_tokens},
                   {"considered", std::move(nodes)}};
  if (choice) {
    out["node"] = work.view->cluster->find_node(choice->node)->info.name;
    out["reason"] = routing::text(choice->reason);
  } else {
    out["reason"] = choice.error().detail;
  }
  return out;
}

}  // namespace

net::Task<void> list_decisions(Connection& client) {
  std::vector<DecisionRecord> records;
  for (const auto& worker : client.worker().shared().workers) {
    for (DecisionRecord& record : worker->decisions().newest_first())
      records.push_back(std::move(record));
  }
  std::ranges::sort(records, std::greater{}, &DecisionRecord::when);
  const auto view = client.worker().view();
  json::array decisions;
  for (const DecisionRecord& record : records)
    decisions.push_back(decision_json(*view->cluster, record));
  return answer_json(client, json::object{{"decisions", std::move(decisions)}});
}

net::Task<void> explain_choice(Connection& client) {
  const Result<Work> work = work_of(client);
  if (work) return answer_json(client, explained(client, *work));
  const int status = work.error().kind == ErrorKind::not_found ? 404 : 400;
  return answer_error(client, status, work.error().detail);
}

}  // namespace sollol::gateway
